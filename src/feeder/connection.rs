//! The feeder's end of a connection: from an address to an accepted hello.

use crate::access::certificates;
use crate::error::{Error, Result};
use crate::samples::{Dtype, Shape};
use crate::wire::{self, Accepted, Hello, Reply, WireError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The port of a job, where an address names none.
const USUAL_PORT: u16 = 7879;
/// How long a job may take to take a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// A job that has been silent this long is asked whether it still stands.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Why a job cannot be fed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The same may succeed later.
    #[error("{0}")]
    Passing(String),
    /// It will not.
    #[error("{0}")]
    Lasting(String),
}

/// A job, and who feeds it.
#[derive(Clone)]
pub struct Job {
    address: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// What is said first.
    pub hello: Hello,
}

/// A connection whose hello was accepted.
pub struct Connection {
    /// Where replies come from.
    pub reader: Reader,
    /// Where frames go.
    pub writer: WriteHalf<Box<dyn Stream>>,
    /// What the job answered.
    pub accepted: Accepted,
}

/// TCP, or TLS over it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Reads replies.
pub struct Reader {
    stream: BufReader<ReadHalf<Box<dyn Stream>>>,
    body: Vec<u8>,
}

impl Job {
    /// The job at `address` (`host:port`), fed as `client`. With certificates of those who are
    /// trusted, over TLS.
    pub fn new(address: &str, client: &str, token: Option<String>, trusted: Option<&Path>) -> Result<Self> {
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { address.to_string() } else { format!("{address}:{USUAL_PORT}") };
        let tls = match trusted {
            Some(path) => Some(tls(&address, path)?),
            None => None,
        };
        let hello = Hello { token, client: client.to_string(), shape: None, dtype: None };
        Ok(Self { address, tls, hello })
    }

    /// Says what the samples look like, so that a job for others refuses them at once.
    pub fn with_look(mut self, shape: Option<Shape>, dtype: Option<Dtype>) -> Self {
        (self.hello.shape, self.hello.dtype) = (shape, dtype);
        self
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connects and says hello.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        let passing = |error: std::io::Error| Failure::Passing(format!("{}: {error}", self.address));
        let late = |_| Failure::Passing(format!("{}: no answer", self.address));
        let socket = timeout(PATIENCE, TcpStream::connect(&self.address)).await;
        let socket = socket.map_err(late)?.map_err(passing)?;
        socket.set_nodelay(true).map_err(passing)?;
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
        socket2::SockRef::from(&socket).set_tcp_keepalive(&keepalive).map_err(passing)?;
        let mut stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(socket),
            Some((connector, name)) => {
                let stream = timeout(PATIENCE, connector.connect(name.clone(), socket)).await;
                Box::new(stream.map_err(late)?.map_err(|error| self.no_tls(&error))?)
            }
        };
        let hello = [&wire::preamble()[..], &wire::record(&self.hello)].concat();
        stream.write_all(&hello).await.map_err(passing)?;
        stream.flush().await.map_err(passing)?;
        let (reader, writer) = tokio::io::split(stream);
        let mut reader = Reader { stream: BufReader::new(reader), body: Vec::new() };
        // Not timed: the job may have to wait until its log has room.
        wire::read_preamble(&mut reader.stream).await.map_err(|error| self.failure(error))?;
        match reader.reply().await.map_err(|error| self.told(error))? {
            Reply::Accepted(accepted) => Ok(Connection { reader, writer, accepted }),
            _ => Err(Failure::Lasting(format!("{}: it did not answer the hello", self.address))),
        }
    }

    /// The same with the job's address.
    pub fn told(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Passing(text) => Failure::Passing(format!("{}: {text}", self.address)),
            Failure::Lasting(text) => Failure::Lasting(format!("{}: {text}", self.address)),
        }
    }

    fn failure(&self, error: WireError) -> Failure {
        match error {
            WireError::Garbage => Failure::Lasting(format!(
                "{}: {error}: is this the source `tcp` of a job, and does it want TLS (--tls-ca)?",
                self.address
            )),
            other => self.told(failure(other)),
        }
    }

    fn no_tls(&self, error: &std::io::Error) -> Failure {
        let text = format!("{}: no TLS: {error}", self.address);
        match error.kind() {
            std::io::ErrorKind::InvalidData => Failure::Lasting(text),
            _ => Failure::Passing(text),
        }
    }
}

impl Reader {
    /// The next reply; a fault is a failure.
    pub async fn reply(&mut self) -> Result<Reply, Failure> {
        let read = wire::read_record(&mut self.stream, wire::REPLY_BYTES, &mut self.body).await;
        if !read.map_err(failure)? {
            return Err(Failure::Passing("the job has closed the connection".into()));
        }
        match wire::decode(&self.body).map_err(failure)? {
            Reply::Fault(fault) if fault.passing => Err(Failure::Passing(fault.text)),
            Reply::Fault(fault) => Err(Failure::Lasting(fault.text)),
            reply => Ok(reply),
        }
    }
}

fn failure(error: WireError) -> Failure {
    match error {
        WireError::Truncated(error) => Failure::Passing(format!("the connection was lost: {error}")),
        WireError::Checksum => Failure::Passing(error.to_string()),
        other => Failure::Lasting(other.to_string()),
    }
}

fn tls(address: &str, trusted: &Path) -> Result<(TlsConnector, ServerName<'static>)> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(trusted)? {
        roots.add(certificate).map_err(|error| Error::file(trusted, error))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::file(trusted, error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
    let name = ServerName::try_from(host);
    let name = name.map_err(|error| Error::request(format!("{address}: {error}")))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}
