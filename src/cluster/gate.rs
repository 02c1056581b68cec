//! Where process 0 awaits the others: it listens, lets in whoever has the token and fits the job, and waits until all are there.
//! It goes on listening while the job runs, to say so to whoever comes late. At most 32 newcomers are heard at once, each for a
//! few seconds, and a newcomer takes the turn of the one that has been heard for longest; strangers are told nothing.

use crate::cluster::crew::{Crew, Desk, Table};
use crate::cluster::fate::Fate;
use crate::cluster::hello::{Unheard, hear};
use crate::cluster::inbox::Inbox;
use crate::cluster::link::Link;
use crate::cluster::net::{PATIENCE, resolved, runtime, within};
use crate::cluster::proof::Secret;
use crate::cluster::roster::Roster;
use parking_lot::{Condvar, Mutex};
use sluicebox_core::error::{Error, Result};
use sluicebox_stream::auth::Access;
use sluicebox_stream::places::{Place, Places};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Newcomers that are heard at once.
const NEWCOMERS: usize = 32;
/// Interval at which the head looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// How the processes of a job meet.
#[derive(Debug, Clone)]
pub struct Meeting {
    /// Address at which process 0 awaits the others.
    pub address: String,
    /// Where the others are, from process 1 on, as far as that is known: for messages.
    pub others: Vec<String>,
    /// Time within which all must have come.
    pub patience: Duration,
    /// SHA-256 of the job file, which whoever has one must have too.
    pub job: Option<String>,
}

/// Where process 0 awaits the others.
pub struct Gate {
    meeting: Meeting,
    runtime: Runtime,
    shared: Arc<Shared>,
}

struct Shared {
    table: Arc<Mutex<Table>>,
    came: Condvar,
    secret: Secret,
    most: u64,
    newcomers: Places,
    met_stranger: AtomicBool,
}

impl Gate {
    /// Listens. `workers` are those of each process; a frame has at most `most` bytes; a process that is asked to stop raises
    /// `stop`.
    ///
    /// # Errors
    /// [`Error::Request`] if the address cannot be listened at, or can be reached from outside and there is no token.
    pub fn open(
        meeting: Meeting,
        workers: Vec<Range<usize>>,
        (access, token): (&Access, Option<&str>),
        most: u64,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let runtime = runtime()?;
        let address = runtime.block_on(resolved(&meeting.address))?;
        access.may_listen(address)?;
        let acceptor = access.acceptor()?;
        let listener = runtime.block_on(TcpListener::bind(address));
        let listener = listener.map_err(|error| {
            Error::Request(format!("process 0 cannot listen at {}: {error}", meeting.address))
        })?;
        let at = listener.local_addr().map_err(Error::request)?;
        let all = workers.last().map_or(0, |last| last.end);
        let roster = Roster::new(workers.len(), all, meeting.job.clone());
        let table = Table::new(roster, workers, Arc::new(Inbox::default()), stop);
        let shared = Arc::new(Shared {
            table: Arc::new(Mutex::new(table)),
            came: Condvar::new(),
            secret: Secret::new(token),
            most,
            newcomers: Places::new(NEWCOMERS),
            met_stranger: AtomicBool::new(false),
        });
        let others = match shared.table.lock().roster.missing().len() {
            1 => "the other process".into(),
            others => format!("{others} other processes"),
        };
        tracing::info!("process 0 awaits {others} at {at}");
        runtime.spawn(listen(listener, acceptor, shared.clone()));
        Ok(Self { meeting, runtime, shared })
    }

    /// Waits until all processes have come; None once `stop` is raised, and those who have come are told that the job has ended.
    ///
    /// # Errors
    /// [`Error::Request`] that names those that have not within the time.
    pub fn gather(self, stop: &AtomicBool) -> Result<Option<Crew>> {
        let began = Instant::now();
        let mut table = self.shared.table.lock();
        while !table.all_have_come() {
            let is_stopped = stop.load(Ordering::Relaxed);
            if !is_stopped && began.elapsed() < self.meeting.patience {
                self.shared.came.wait_for(&mut table, LOOK);
                continue;
            }
            let missing = self.missing(&table.roster.missing());
            let crew = Crew::new(self.runtime, table.crew(), table.inbox.clone());
            drop(table);
            if is_stopped {
                crew.dismiss();
                return Ok(None);
            }
            crew.end(&Fate::of(&missing));
            return Err(missing);
        }
        table.roster.complete();
        let (links, inbox) = (table.crew(), table.inbox.clone());
        drop(table);
        tracing::info!("all processes are there");
        Ok(Some(Crew::new(self.runtime, links, inbox)))
    }

    fn missing(&self, missing: &[usize]) -> Error {
        let name = |process: &usize| match self.meeting.others.get(process - 1) {
            Some(host) => format!("process {process} ({host})"),
            None => format!("process {process}"),
        };
        let names: Vec<String> = missing.iter().map(name).collect();
        Error::Request(format!(
            "{} did not come to {} within {} s: start it, or give it longer (--start-timeout)",
            names.join(" and "),
            self.meeting.address,
            self.meeting.patience.as_secs_f64()
        ))
    }
}

async fn listen(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(LOOK).await; // others may close some files
            continue;
        };
        let Some((place, lost)) = shared.newcomers.take() else { continue };
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true); // only slower
            let met = async {
                match acceptor {
                    None => meet(stream, from, &shared, &place).await,
                    Some(acceptor) => match within(PATIENCE, acceptor.accept(stream)).await {
                        Ok(stream) => meet(stream, from, &shared, &place).await,
                        Err(error) => shared.stranger(from, &error.to_string()),
                    },
                }
            };
            tokio::select! {
                () = met => {}
                _ = lost => tracing::debug!("{from} was not heard, as others came"),
            }
        });
    }
}

/// Hears a newcomer, and lets it in or not.
async fn meet<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut stream: S,
    from: SocketAddr,
    shared: &Arc<Shared>,
    place: &Place,
) {
    let heard = match hear(&mut stream, &shared.secret).await {
        Ok(heard) => heard,
        Err(Unheard::Stranger(said)) => return shared.stranger(from, &said),
        Err(Unheard::Refused(reason)) => return tracing::warn!("a process at {from} is refused: {reason}"),
        Err(Unheard::Lost(error)) => return tracing::debug!("{from} has gone before it was heard: {error}"),
    };
    place.admit(); // its turn is not taken from it any more
    let admitted = shared.table.lock().roster.admit(&heard.request, &from.to_string());
    match &admitted {
        Ok(process) => tracing::info!("process {process} has come, from {from}"),
        Err(refusal) if refusal.passing => {
            tracing::debug!("a process at {from} is sent away: {}", refusal.reason)
        }
        Err(refusal) => tracing::warn!("a process at {from} is refused: {}", refusal.reason),
    }
    let answered = heard.answer(&mut stream, &shared.secret, admitted.clone()).await;
    let Ok(process) = admitted else { return };
    let mut table = shared.table.lock();
    match answered {
        Ok(()) => {
            let name = format!("process {process} at {from}");
            let desk = Desk { process, name: name.clone(), table: shared.table.clone() };
            let runtime = tokio::runtime::Handle::current();
            table.came(process, Link::start(&runtime, stream, &name, shared.most, desk));
            shared.came.notify_all();
        }
        Err(_) => table.roster.leave(process),
    }
}

impl Shared {
    /// Says once that something else than a process has come.
    fn stranger(&self, from: SocketAddr, said: &str) {
        if !self.met_stranger.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "{from} is no process of this job (it says {said}); others like it are not told of"
            );
        }
    }
}
