//! The feeder's end of a connection, from address to accepted hello.

use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Dtype, Shape};
use sluicebox_stream::auth::connector;
use sluicebox_stream::protocol;
use sluicebox_stream::protocol::{Accepted, Hello, ProtocolError, Reply};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Port used where an address names none.
const USUAL_PORT: u16 = 7879;
/// Timeout of the TCP connect, of the TLS handshake, and of the job's first bytes; the longest one.
const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest one, for a feeder that gives up soon.
const LEAST_PATIENCE: Duration = Duration::from_secs(2);
/// Idle time after which TCP keepalive probes the job.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Reason why a job cannot be fed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Temporary: a retry may succeed.
    #[error("{0}")]
    Passing(String),
    /// Permanent: a retry would fail too.
    #[error("{0}")]
    Lasting(String),
}

/// A job's address, and the hello that identifies the client.
#[derive(Clone)]
pub struct Job {
    address: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    patience: Duration,
    /// First message of a connection.
    pub hello: Hello,
}

/// A connection whose hello was accepted.
pub struct Connection {
    /// Receives replies.
    pub reader: Reader,
    /// Sends frames.
    pub writer: WriteHalf<Box<dyn Stream>>,
    /// The job's answer to the hello.
    pub accepted: Accepted,
}

/// Returns an address without `tcp://`. One of the job's HTTP server is refused: that speaks another protocol.
fn without_scheme(address: &str) -> Result<&str> {
    match address.split_once("://") {
        None | Some(("tcp", _)) => {
            Ok(address.rsplit_once("://").map_or(address, |(_, rest)| rest).trim_end_matches('/'))
        }
        Some((scheme, rest)) => Err(Error::request(format!(
            "{address}: feed speaks to a source `tcp`, not {scheme}: name its host:port, as in the key `listen` of the source \
             (usually port {USUAL_PORT}); a source `http` is fed by POST http://{}/samples",
            rest.trim_end_matches('/')
        ))),
    }
}

/// TCP, or TLS over it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Reader of replies.
pub struct Reader {
    stream: BufReader<ReadHalf<Box<dyn Stream>>>,
    body: Vec<u8>,
}

impl Job {
    /// The job at `address` (`host:port`), fed as `client`. `trusted` is a file with the
    /// certificates to trust; with it, the connection uses TLS.
    pub fn new(address: &str, client: &str, token: Option<String>, trusted: Option<&Path>) -> Result<Self> {
        let address = without_scheme(address)?;
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { address.to_string() } else { format!("{address}:{USUAL_PORT}") };
        let tls = match trusted {
            Some(path) => Some(connector(&address, path)?),
            None => None,
        };
        let hello = Hello { token, client: client.to_string(), shape: None, dtype: None };
        Ok(Self { address, tls, patience: PATIENCE, hello })
    }

    /// Adds the samples' shape and dtype to the hello, so that a job that expects others refuses at
    /// once.
    pub fn with_look(mut self, shape: Option<Shape>, dtype: Option<Dtype>) -> Self {
        (self.hello.shape, self.hello.dtype) = (shape, dtype);
        self
    }

    /// Shortens the timeouts of a connection for a feeder that retries for `retry_for` only; not of a single attempt.
    pub fn retried_for(mut self, retry_for: Duration) -> Self {
        if !retry_for.is_zero() {
            self.patience = retry_for.clamp(LEAST_PATIENCE, PATIENCE);
        }
        self
    }

    /// Returns the job's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connects, sends the hello and waits until the job accepts it.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        let passing = |error: std::io::Error| Failure::Passing(format!("{}: {error}", self.address));
        let late = |_| Failure::Passing(format!("{}: no answer within {:?}", self.address, self.patience));
        let socket = timeout(self.patience, TcpStream::connect(&self.address)).await;
        let socket = socket.map_err(late)?.map_err(passing)?;
        socket.set_nodelay(true).map_err(passing)?;
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
        socket2::SockRef::from(&socket).set_tcp_keepalive(&keepalive).map_err(passing)?;
        let mut stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(socket),
            Some((connector, name)) => {
                let stream = timeout(self.patience, connector.connect(name.clone(), socket)).await;
                Box::new(stream.map_err(late)?.map_err(|error| self.no_tls(&error))?)
            }
        };
        let hello = [&protocol::preamble()[..], &protocol::record(&self.hello)].concat();
        let sent = async {
            stream.write_all(&hello).await?;
            stream.flush().await
        };
        timeout(self.patience, sent).await.map_err(late)?.map_err(passing)?;
        let (reader, writer) = tokio::io::split(stream);
        let mut reader = Reader { stream: BufReader::new(reader), body: Vec::new() };
        let greeting = timeout(self.patience, protocol::read_preamble(&mut reader.stream)).await;
        let silent = |_| {
            let text = format!(
                "{}: something listens there, but does not answer a feeder within {:?}: is this a job's source `tcp`?",
                self.address, self.patience
            );
            Failure::Passing(text)
        };
        greeting.map_err(silent)?.map_err(|error| self.failure(error))?;
        // No timeout from here on: the job may have to wait until its write-ahead log has room.
        match reader.reply().await.map_err(|error| self.with_address(error))? {
            Reply::Accepted(accepted) => Ok(Connection { reader, writer, accepted }),
            _ => Err(Failure::Lasting(format!(
                "{}: protocol error: the first reply does not answer the hello",
                self.address
            ))),
        }
    }

    /// Prefixes a failure with the job's address.
    pub fn with_address(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Passing(text) => Failure::Passing(format!("{}: {text}", self.address)),
            Failure::Lasting(text) => Failure::Lasting(format!("{}: {text}", self.address)),
        }
    }

    fn failure(&self, error: ProtocolError) -> Failure {
        match error {
            ProtocolError::Garbage => Failure::Lasting(format!(
                "{}: {error}: is this a job's source `tcp`, and does it need TLS (--tls-ca)?",
                self.address
            )),
            other => self.with_address(failure(other)),
        }
    }

    fn no_tls(&self, error: &std::io::Error) -> Failure {
        let text = format!("{}: the TLS handshake failed: {error}", self.address);
        match error.kind() {
            std::io::ErrorKind::InvalidData => Failure::Lasting(text),
            _ => Failure::Passing(text),
        }
    }
}

impl Reader {
    /// Returns the next reply; a fault from the job becomes a failure.
    pub async fn reply(&mut self) -> Result<Reply, Failure> {
        let read = protocol::read_record(&mut self.stream, protocol::REPLY_BYTES, &mut self.body).await;
        if !read.map_err(failure)? {
            return Err(Failure::Passing("the job has closed the connection".into()));
        }
        match protocol::decode(&self.body).map_err(failure)? {
            Reply::Rejected(fault) if fault.passing => Err(Failure::Passing(fault.text)),
            Reply::Rejected(fault) => Err(Failure::Lasting(fault.text)),
            reply => Ok(reply),
        }
    }
}

fn failure(error: ProtocolError) -> Failure {
    match error {
        ProtocolError::Truncated(error) => Failure::Passing(format!("the connection was lost: {error}")),
        ProtocolError::Checksum => Failure::Passing(error.to_string()),
        other => Failure::Lasting(other.to_string()),
    }
}
