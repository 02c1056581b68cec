//! A broker as it is run, for tests: TLS and SASL in front of librdkafka's mock cluster, which has neither. It speaks
//! Kafka's protocol as far as both need it, and has the cluster tell its own port.

use super::sasl::{Sasl, Session};
use rdkafka::ClientConfig;
use rdkafka::message::OwnedHeaders;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use std::collections::HashMap;
use std::io::{Error, Result};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;
/// First byte of a client that begins with TLS.
const TLS: u8 = 22;
/// Kafka's code of credentials that are refused.
const REFUSED: i16 = 58;

/// The topic `samples` of a cluster, whose one broker may want TLS and SASL.
pub struct Broker {
    pub mock: MockCluster<'static, DefaultProducerContext>,
    /// Where it listens with TLS and SASL.
    pub address: String,
    producer: BaseProducer,
    _runtime: tokio::runtime::Runtime,
}

impl Broker {
    pub fn start(partitions: i32, tls: Option<Arc<ServerConfig>>, sasl: Option<Sasl>) -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("samples", partitions, 1).unwrap();
        let plain = mock.bootstrap_servers();
        let producer = ClientConfig::new().set("bootstrap.servers", &plain).create().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let own = listener.local_addr().unwrap();
        runtime.spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (plain, sasl, tls) = (plain.clone(), sasl.clone(), tls.clone());
                tokio::spawn(async move {
                    // A client that gives up or is refused is no fault of the broker.
                    let _ = match tls {
                        None => serve(client, &plain, own.port(), sasl).await,
                        // As Kafka's broker does, it closes a connection that does not begin with TLS.
                        Some(_) if first(&client).await != Some(TLS) => Ok(()),
                        Some(tls) => match TlsAcceptor::from(tls).accept(client).await {
                            Ok(client) => serve(client, &plain, own.port(), sasl).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self { mock, address: own.to_string(), producer, _runtime: runtime }
    }

    pub fn send(&self, partition: i32, payload: &[u8], key: Option<&str>, headers: &[(&str, &str)]) {
        let mut record = BaseRecord::<str, [u8]>::to("samples").partition(partition).payload(payload);
        record.key = key;
        let all = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(rdkafka::message::Header { key, value: Some(*value) })
        });
        self.producer.send(record.headers(all)).map_err(|(error, _)| error).unwrap();
        self.producer.flush(Duration::from_secs(60)).unwrap();
    }
}

/// Returns the first byte that a client has sent.
async fn first(client: &TcpStream) -> Option<u8> {
    let mut byte = [0];
    client.peek(&mut byte).await.ok().filter(|count| *count == 1).map(|_| byte[0])
}

/// Reads a frame.
async fn frame(from: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let length = from.read_i32().await?;
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body).await?;
    Ok(body)
}

async fn send(to: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> Result<()> {
    to.write_all(&[&(body.len() as i32).to_be_bytes(), body].concat()).await?;
    to.flush().await
}

fn i16_at(body: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([body[at], body[at + 1]])
}

/// Returns what follows the header of a request.
fn content(body: &[u8]) -> &[u8] {
    let client = i16_at(body, 8).max(0) as usize;
    &body[10 + client..]
}

/// Adds the requests of SASL to those that the cluster says it knows.
fn with_sasl(version: i16, answer: Vec<u8>) -> Vec<u8> {
    if i16_at(&answer, 4) != 0 {
        return answer; // of another version
    }
    let mut told = answer[..6].to_vec();
    let requests = [(SASL_HANDSHAKE, 1i16), (SASL_AUTHENTICATE, 0)];
    let more = requests.map(|(key, most)| [key.to_be_bytes(), [0; 2], most.to_be_bytes()].concat());
    let rest = match version {
        3 => {
            told.push(answer[6] + 2); // a number below 128, and one more
            more.iter().for_each(|one| told.extend([one.as_slice(), &[0]].concat()));
            &answer[7..]
        }
        _ => {
            let count = i32::from_be_bytes(answer[6..10].try_into().unwrap());
            told.extend((count + 2).to_be_bytes());
            told.extend(more.concat());
            &answer[10..]
        }
    };
    told.extend_from_slice(rest);
    told
}

/// Lets a client show who it is. Returns only if it has.
async fn authenticate(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    cluster: &mut TcpStream,
    sasl: Sasl,
) -> Result<()> {
    let mut session = Session::new(sasl);
    loop {
        let request = frame(client).await?;
        let (key, correlation) = (i16_at(&request, 0), &request[4..8]);
        match key {
            API_VERSIONS => {
                send(cluster, &request).await?;
                let answer = frame(cluster).await?;
                send(client, &with_sasl(i16_at(&request, 2), answer)).await?;
            }
            SASL_HANDSHAKE => {
                let mechanism = String::from_utf8_lossy(&content(&request)[2..]).into_owned();
                let own = session.mechanism();
                let error = if mechanism == own { 0i16 } else { 33 }; // unsupported mechanism
                let length = (own.len() as i16).to_be_bytes();
                let told = [&error.to_be_bytes()[..], &1i32.to_be_bytes(), &length, own.as_bytes()].concat();
                send(client, &[correlation, &told].concat()).await?;
            }
            SASL_AUTHENTICATE => {
                let (error, reason, said, done) = match session.next(&content(&request)[4..]) {
                    Ok((said, done)) => (0i16, None, said, done),
                    Err(reason) => (REFUSED, Some(reason), Vec::new(), false),
                };
                let reason = reason.map_or((-1i16).to_be_bytes().to_vec(), |reason| {
                    [&(reason.len() as i16).to_be_bytes()[..], reason.as_bytes()].concat()
                });
                let length = (said.len() as i32).to_be_bytes();
                let told = [&error.to_be_bytes()[..], &reason, &length, &said].concat();
                send(client, &[correlation, &told].concat()).await?;
                match (error, done) {
                    (0, true) => return Ok(()),
                    (0, false) => {}
                    _ => return Err(Error::other("refused")),
                }
            }
            other => return Err(Error::other(format!("request {other} before SASL"))),
        }
    }
}

/// Passes requests on, and answers back.
async fn serve(
    mut client: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    plain: &str,
    port: u16,
    sasl: Option<Sasl>,
) -> Result<()> {
    let mut cluster = TcpStream::connect(plain).await?;
    if let Some(sasl) = sasl {
        authenticate(&mut client, &mut cluster, sasl).await?;
    }
    let (mut client_reads, mut client_writes) = tokio::io::split(client);
    let (mut cluster_reads, mut cluster_writes) = cluster.into_split();
    let keys: Arc<Mutex<HashMap<[u8; 4], i16>>> = Arc::default();
    let asked = keys.clone();
    let requests = tokio::spawn(async move {
        while let Ok(request) = frame(&mut client_reads).await {
            asked.lock().unwrap().insert(request[4..8].try_into().unwrap(), i16_at(&request, 0));
            if send(&mut cluster_writes, &request).await.is_err() {
                return;
            }
        }
    });
    let (host, own) = plain.rsplit_once(':').unwrap();
    let own = u32::from(own.parse::<u16>().unwrap());
    let (theirs, ours) = (
        [host.as_bytes(), &own.to_be_bytes()].concat(),
        [host.as_bytes(), &u32::from(port).to_be_bytes()].concat(),
    );
    while let Ok(mut answer) = frame(&mut cluster_reads).await {
        let key = keys.lock().unwrap().remove(&answer[..4]);
        if matches!(key, Some(METADATA | FIND_COORDINATOR))
            && let Some(at) = answer.windows(theirs.len()).position(|part| part == theirs)
        {
            answer[at..at + ours.len()].copy_from_slice(&ours);
        }
        send(&mut client_writes, &answer).await?;
    }
    requests.abort();
    Ok(())
}
