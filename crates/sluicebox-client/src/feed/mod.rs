//! Client of the source `tcp`, behind `sluicebox feed`. Reads files or stdin, sends their samples,
//! and keeps unacknowledged ones so that they survive a restart of the job.

pub mod connection;
mod progress;
pub mod queue;
mod rate;
mod reading;
mod retry;
mod session;
pub mod unacknowledged;

pub use rate::Rate;
pub use reading::Input;

use connection::{Connection, Failure, Job};
use progress::Watch;
use queue::SampleQueue;
use rate::Pace;
use reading::Reading;
use retry::Retry;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::sample_bytes;
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_stream::decode;
use sluicebox_stream::protocol::{Accepted, samples_in};
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use unacknowledged::Unacknowledged;

/// Bytes of values per frame, unless one sample has more.
const FRAME_BYTES: usize = 1 << 20;
/// Samples per frame, unless `batch` is set.
const FRAME_SAMPLES: usize = 16_384;
/// Interval at which `stop` is checked.
const LOOK: Duration = Duration::from_millis(50);

/// Settings of the feeder.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The job: `host:port`.
    pub address: String,
    /// The samples to send.
    pub inputs: Vec<Input>,
    /// Format options that file names do not give.
    pub decode: decode::Options,
    /// Leave bad records out instead of failing.
    pub skip_bad: bool,
    /// Samples per second; none: as fast as possible.
    pub rate: Option<Rate>,
    /// Start again at the end of the input, for ever.
    pub repeat: bool,
    /// Client id under which the job counts the samples; none: made from host and file names.
    pub client_id: Option<String>,
    /// The job's token.
    pub token: Option<String>,
    /// Certificates (PEM) to trust; with them, the connection uses TLS.
    pub tls_ca: Option<PathBuf>,
    /// Samples per frame.
    pub batch: Option<usize>,
    /// Shape that the job must expect; none: not checked.
    pub shape: Option<Shape>,
    /// Dtype that the job must expect; none: not checked.
    pub dtype: Option<Dtype>,
    /// Time for which an unreachable job is retried.
    pub retry_for: Duration,
}

/// Result of feeding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Samples that the job has acknowledged.
    pub acknowledged: u64,
    /// Acknowledged samples that the job had already taken before.
    pub known: u64,
    /// Bad records left out.
    pub bad: u64,
    /// Duration in seconds.
    pub seconds: f64,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Summary { acknowledged, known, bad, seconds } = self;
        write!(f, "{acknowledged} samples acknowledged, {known} of them known before, in {seconds:.1} s")?;
        match bad {
            0 => Ok(()),
            _ => write!(f, "; {bad} bad records left out"),
        }
    }
}

/// Feeds until every sample is acknowledged; once `stop` is set, only those read so far. After a
/// failure, prints the acknowledged samples on stderr.
pub fn feed(settings: &Settings, stop: &Arc<AtomicBool>) -> Result<Summary> {
    let client = settings.client_id.clone().unwrap_or_else(|| reading::client_id(settings));
    let job = Job::new(&settings.address, &client, settings.token.clone(), settings.tls_ca.as_deref())?;
    let job = job.with_look(settings.shape, settings.dtype);
    settings.inputs.iter().try_for_each(Input::check)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Connection(format!("cannot start: {error}")))?;
    eprintln!("feeding {} as client {client}", job.address());
    let mut feeding = Feeding { settings, job, stop, started: Instant::now(), under_way: None };
    let fed = runtime.block_on(feeding.run());
    let summary = feeding.summary();
    if fed.is_err() && summary.acknowledged > 0 {
        eprintln!("{summary}");
    }
    fed.map(|()| summary)
}

struct Feeding<'a> {
    settings: &'a Settings,
    job: Job,
    stop: &'a Arc<AtomicBool>,
    started: Instant,
    /// Set once the first hello is accepted, which carries the format of the samples.
    under_way: Option<UnderWay>,
}

/// State that outlives a connection.
struct UnderWay {
    /// Format of the samples that the job takes.
    format: Format,
    hopper: Arc<SampleQueue>,
    outbox: RefCell<Unacknowledged>,
    pace: RefCell<Pace>,
    watch: Watch,
}

impl Feeding<'_> {
    async fn run(&mut self) -> Result<()> {
        let mut retry = Retry::new(self.settings.retry_for);
        loop {
            let connected = tokio::select! {
                connected = self.job.connect() => connected,
                () = stopped(self.stop) => return self.given_up(),
            };
            let ended = match connected {
                Ok(connection) => {
                    let ended = self.session(connection).await?;
                    ended.map_err(|failure| self.job.told(failure))
                }
                Err(failure) => Err(failure),
            };
            let failure = match ended {
                Ok(()) => return self.ended(),
                Err(Failure::Lasting(text)) => return Err(Error::request(text)),
                Err(Failure::Passing(text)) => text,
            };
            let acknowledged = self.summary().acknowledged;
            tokio::select! {
                waited = retry.wait(&failure, acknowledged) => waited?,
                () = stopped(self.stop) => return self.given_up(),
            }
        }
    }

    async fn session(&mut self, connection: Connection) -> Result<Result<(), Failure>> {
        let present = match self.under_way.take() {
            Some(present) => present,
            None => self.begin(&connection.accepted)?,
        };
        let present = self.under_way.insert(present);
        let UnderWay { format, hopper, outbox, pace, watch } = present;
        if *format != connection.accepted.format {
            let reason = "the job takes other samples than before: start anew with another --client-id";
            return Ok(Err(Failure::Lasting(reason.into())));
        }
        if let Err(failure) = outbox.borrow_mut().resume(connection.accepted.taken.samples) {
            return Ok(Err(failure));
        }
        let session = session::run(connection, hopper, outbox, pace);
        Ok(tokio::select! {
            ended = session => ended,
            never = watch.tell(outbox) => match never {},
        })
    }

    /// Starts the reading thread.
    fn begin(&self, accepted: &Accepted) -> Result<UnderWay> {
        let sample = sample_bytes(&accepted.format);
        let most = samples_in(accepted.max_frame_bytes as usize, sample);
        let usual = samples_in(FRAME_BYTES, sample).clamp(1, FRAME_SAMPLES).min(most);
        let usual = match self.settings.rate {
            Some(rate) => usual.min((rate.per_s() / 10.0).ceil() as usize),
            None => usual,
        };
        let batch = self.settings.batch.unwrap_or(usual);
        if !(1..=most).contains(&batch) {
            return Err(Error::request(format!(
                "--batch {batch}: this job takes frames of 1 to {most} samples"
            )));
        }
        let hopper = Arc::new(SampleQueue::new(batch, sample, self.stop.clone()));
        let known = accepted.taken;
        Reading::start(self.settings, &self.job.hello.client, accepted, hopper.clone())?;
        Ok(UnderWay {
            format: accepted.format.clone(),
            hopper,
            outbox: RefCell::new(Unacknowledged::new(known.samples)),
            pace: RefCell::new(Pace::new(self.settings.rate)),
            watch: Watch::new(known.samples),
        })
    }

    /// Returns the result of reading, once every sample is acknowledged.
    fn ended(&self) -> Result<()> {
        self.under_way.as_ref().map_or(Ok(()), |present| present.hopper.result())
    }

    /// Returns the result where `stop` is set while there is no connection.
    fn given_up(&self) -> Result<()> {
        let Some(present) = &self.under_way else {
            let reason =
                format!("{}: stopped before it could be reached; nothing was sent", self.job.address());
            return Err(Error::Connection(reason));
        };
        match present.outbox.borrow().waiting() {
            0 => Ok(()),
            waiting => Err(Error::Connection(format!(
                "stopped without a connection: {waiting} samples that were sent are not acknowledged; with \
                 the same --client-id the same files go on where the job says"
            ))),
        }
    }

    fn summary(&self) -> Summary {
        let seconds = self.started.elapsed().as_secs_f64();
        match &self.under_way {
            None => Summary { acknowledged: 0, known: 0, bad: 0, seconds },
            Some(present) => {
                let outbox = present.outbox.borrow();
                let bad = present.hopper.bad();
                Summary { acknowledged: outbox.acknowledged(), known: outbox.known(), bad, seconds }
            }
        }
    }
}

async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK).await;
    }
}
