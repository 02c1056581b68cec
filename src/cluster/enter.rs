//! How a process comes to process 0, and gets the job from it. Until the job begins a lost connection is tried again: process 0
//! may be started anew.

use crate::cluster::fate::Fate;
use crate::cluster::frame::{Frame, Kind};
use crate::cluster::hello::{Denied, Refusal, Request, ask};
use crate::cluster::inbox::Inbox;
use crate::cluster::link::{Inlet, Link};
use crate::cluster::net::{PATIENCE, resolved, runtime, within};
use crate::cluster::proof::Secret;
use parking_lot::Mutex;
use sluicebox_core::error::{Error, Result};
use sluicebox_stream::auth::connector;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Pause between tries, and interval at which a process looks whether it is to stop.
const PAUSE: Duration = Duration::from_millis(200);
/// Time for which process 0 may say that there is no place yet: it notices within it that a process is gone.
const NO_PLACE: Duration = Duration::from_secs(15);
/// Longest first message: a larger state is treated as damaged. It takes memory only as it arrives.
const FIRST: u64 = sluicebox_core::state::MOST_BYTES;
/// Time for the last words of a process that fails.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where process 0 is, and what this process says of itself.
#[derive(Debug, Clone, Default)]
pub struct Entrance {
    /// Address of process 0.
    pub head: String,
    /// The token.
    pub token: Option<String>,
    /// Certificates (PEM) to trust, if process 0 uses TLS.
    pub trusted: Option<PathBuf>,
    /// What this process says of itself.
    pub request: Request,
    /// Time within which process 0 must be reached.
    pub patience: Duration,
}

/// A process's place in a cluster that has begun.
pub struct Place {
    /// Its number.
    pub process: usize,
    /// Its workers.
    pub workers: Range<usize>,
    /// The first message.
    pub begin: bytes::Bytes,
    /// What comes from process 0.
    pub inbox: Arc<Inbox>,
    /// The link to it.
    pub link: Link,
    _runtime: Runtime,
}

/// What a process does with the frames of the head.
struct Seat {
    head: String,
    inbox: Arc<Inbox>,
    workers: Mutex<Range<usize>>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Comes to process 0, and waits until the job begins; None if `stop` is raised, or the job is asked to stop, before.
///
/// # Errors
/// [`Error::Request`] if it refuses this process, has another token or version, or is not reached within the time.
pub fn enter(entrance: &Entrance, stop: &AtomicBool) -> Result<Option<Place>> {
    let runtime = runtime()?;
    let secret = Secret::new(entrance.token.as_deref());
    let mut unreached = Duration::ZERO;
    let mut no_place_since: Option<Instant> = None;
    loop {
        let tried = Instant::now();
        let knocked = runtime.block_on(async {
            tokio::select! {
                knocked = knock(entrance, &secret) => Some(knocked),
                () = raised(stop) => None,
            }
        });
        let Some(knocked) = knocked else {
            tracing::info!(
                "this process was asked to stop before process 0 at {} was reached",
                entrance.head
            );
            runtime.shutdown_background(); // a look-up of its name may take longer
            return Ok(None);
        };
        let refusal = match knocked {
            Ok((process, stream)) => {
                no_place_since = None;
                match wait(&runtime, entrance, stream, stop)? {
                    Waited::Begun(link, inbox, workers, begin) => {
                        return Ok(Some(Place { process, workers, begin, inbox, link, _runtime: runtime }));
                    }
                    Waited::InVain => continue,
                    Waited::Over(whose) => {
                        tracing::info!("{whose} was asked to stop before all processes had come");
                        return Ok(None);
                    }
                }
            }
            Err(Knock::Refused(refusal)) if !refusal.passing => return Err(Error::Request(refusal.reason)),
            Err(Knock::Refused(refusal)) => {
                let since = no_place_since.get_or_insert_with(|| {
                    tracing::info!("{}; trying again", refusal.reason);
                    tried
                });
                if since.elapsed() >= NO_PLACE {
                    return Err(Error::Request(refusal.reason));
                }
                refusal.reason
            }
            Err(Knock::Unreached(reason)) => {
                no_place_since = None;
                if unreached.is_zero() {
                    tracing::info!(
                        "process 0 at {} is not reached yet: {reason}; trying again",
                        entrance.head
                    );
                }
                reason
            }
            Err(Knock::Never(error)) => return Err(error),
        };
        std::thread::sleep(PAUSE);
        unreached += tried.elapsed();
        if unreached >= entrance.patience {
            return Err(Error::Request(format!(
                "process 0 at {} was not reached within {} s: {refusal}",
                entrance.head,
                entrance.patience.as_secs_f64()
            )));
        }
    }
}

/// Why a try to reach process 0 has failed.
enum Knock {
    Refused(Refusal),
    Unreached(String),
    Never(Error),
}

async fn knock(entrance: &Entrance, secret: &Secret) -> Result<(usize, Box<dyn Stream>), Knock> {
    let unreached = |error: std::io::Error| Knock::Unreached(error.to_string());
    let address = resolved(&entrance.head).await.map_err(|error| Knock::Unreached(error.to_string()))?;
    if !address.ip().is_loopback() && entrance.token.is_none() {
        let reason = format!(
            "{address} is another machine: set the token of process 0 (SLUICEBOX_TOKEN or --token-file)"
        );
        return Err(Knock::Never(Error::Request(reason)));
    }
    let stream = within(PATIENCE, TcpStream::connect(address)).await.map_err(unreached)?;
    stream.set_nodelay(true).map_err(unreached)?;
    let mut stream: Box<dyn Stream> = match &entrance.trusted {
        None => Box::new(stream),
        Some(trusted) => {
            let (connector, name) = connector(&entrance.head, trusted).map_err(Knock::Never)?;
            let stream = within(PATIENCE, connector.connect(name, stream)).await;
            Box::new(stream.map_err(|error| match error.kind() {
                ErrorKind::InvalidData => Knock::Never(Error::Request(format!(
                    "process 0 at {}: TLS fails: {error}",
                    entrance.head
                ))),
                _ => unreached(error),
            })?)
        }
    };
    match ask(&mut stream, secret, &entrance.request).await {
        Ok(process) => Ok((process, stream)),
        Err(Denied::Lost(error)) => Err(Knock::Unreached(lost(entrance, &error))),
        Err(Denied::Refused(refusal)) => Err(Knock::Refused(refusal)),
    }
}

fn lost(entrance: &Entrance, error: &std::io::Error) -> String {
    match (error.kind(), &entrance.trusted) {
        (ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset, None) => {
            "it closes the connection; if its job has server.cert, say --tls-ca".into()
        }
        _ => error.to_string(),
    }
}

/// Returns once `stop` is raised.
async fn raised(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(PAUSE).await;
    }
}

/// How the wait for the job has ended.
enum Waited {
    /// It begins.
    Begun(Link, Arc<Inbox>, Range<usize>, bytes::Bytes),
    /// Process 0 is gone.
    InVain,
    /// This process or process 0 was asked to stop.
    Over(&'static str),
}

/// Waits until the job begins, process 0 is gone, or `stop` is raised.
fn wait(
    runtime: &Runtime,
    entrance: &Entrance,
    stream: Box<dyn Stream>,
    stop: &AtomicBool,
) -> Result<Waited> {
    let inbox = Arc::new(Inbox::default());
    let name = format!("process 0 at {}", entrance.head);
    let seat = Seat { head: name.clone(), inbox: inbox.clone(), workers: Mutex::new(0..0) };
    let link = Link::start(runtime.handle(), stream, &name, FIRST, seat);
    tracing::info!("this process has a place at {name}; it waits for the others");
    while !stop.load(Ordering::Relaxed) {
        match inbox.take_within(Kind::Begin, 0, PAUSE) {
            Ok(None) => {}
            Ok(Some(frame)) => {
                let first = frame.number as usize;
                return Ok(Waited::Begun(link, inbox, first..first + frame.worker as usize, frame.body));
            }
            Err(Fate::Lost { reason }) => {
                tracing::info!("{reason}; trying again");
                return Ok(Waited::InVain);
            }
            Err(fate) => return fate.into_result().map(|()| Waited::Over("the job")),
        }
    }
    Ok(Waited::Over("this process"))
}

impl Place {
    /// Tells process 0 how this process has failed, and waits a while until it has heard. It may know already.
    pub fn fail(&self, error: &Error) {
        let _ = self.link.send(Fate::of(error).frame()); // it may be gone
        self.link.await_end(LAST_WORDS);
    }
}

impl Inlet for Seat {
    fn take(&self, frame: Frame) -> Result<(), String> {
        let mut workers = self.workers.lock();
        match frame.kind {
            Kind::Begin if workers.is_empty() && frame.worker > 0 => {
                *workers = frame.number as usize..frame.number as usize + frame.worker as usize;
                self.inbox.put(Kind::Begin, 0, frame);
            }
            Kind::Score | Kind::Learn if workers.contains(&(frame.worker as usize)) => {
                // In their order, whichever of the two a task is.
                self.inbox.put(Kind::Score, frame.worker as usize, frame);
            }
            Kind::Sum | Kind::Total if !workers.is_empty() => {
                self.inbox.put(Kind::Sum, frame.number as usize % workers.len(), frame);
            }
            Kind::End => self.inbox.close(Fate::Ended),
            Kind::Failed => self.inbox.close(Fate::told(&frame, "")),
            kind => return Err(format!("it sends {kind:?}, which is not its turn")),
        }
        Ok(())
    }

    fn lost(&self, reason: &str) {
        self.inbox.close(Fate::Lost { reason: format!("{} is gone: {reason}", self.head) });
    }
}
