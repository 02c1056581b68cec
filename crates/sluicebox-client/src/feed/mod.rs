//! Client of the source `tcp`, behind `sluicebox feed`. Reads files or stdin, sends their samples,
//! and keeps unacknowledged ones so that they survive a restart of the job.
//!
//! ```no_run
//! use sluicebox_client::feed::{Input, Settings, feed};
//! use sluicebox_stream::decode;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! let settings = Settings {
//!     address: "127.0.0.1:7879".into(),
//!     inputs: vec![Input::File("samples.npy".into())],
//!     decode: decode::Options::default(),
//!     skip_bad: false,
//!     labels: true,
//!     rate: Some("500/s".parse()?),
//!     repeat: false,
//!     client_id: None,
//!     token: None,
//!     tls_ca: None,
//!     batch: None,
//!     shape: None,
//!     dtype: None,
//!     retry_for: Duration::from_secs(300),
//! };
//! let summary = feed(&settings, &Arc::default())?;
//! println!("{} samples acknowledged", summary.acknowledged);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod connection;
mod idx_labels;
mod input;
mod progress;
pub mod queue;
mod rate;
mod reading;
mod retry;
mod session;
mod settings;
mod summary;
pub mod unacknowledged;

pub use input::Input;
pub use rate::Rate;
pub use settings::Settings;
pub use summary::Summary;

use connection::{Connection, Failure, Job};
use progress::ProgressOutput;
use queue::SampleQueue;
use rate::RateLimit;
use reading::Reading;
use retry::Retry;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Format, sample_bytes};
use sluicebox_core::terminal::tell;
use sluicebox_stream::protocol::{Accepted, samples_in};
use std::cell::RefCell;
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

/// Feeds until every sample is acknowledged; once `stop` is set, only those read so far. After a
/// failure, prints the acknowledged samples on stderr.
pub fn feed(settings: &Settings, stop: &Arc<AtomicBool>) -> Result<Summary> {
    let client = settings.client_id.clone().unwrap_or_else(|| settings::client_id(settings));
    let job = Job::new(&settings.address, &client, settings.token.clone(), settings.tls_ca.as_deref())?;
    let job = job.with_look(settings.shape, settings.dtype).retried_for(settings.retry_for);
    settings.inputs.iter().try_for_each(Input::check)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Connection(format!("cannot start: {error}")))?;
    tell(&format!("feeding {} as client {client}", job.address()));
    let mut feeding = Feeding { settings, job, stop, started: Instant::now(), under_way: None };
    let fed = runtime.block_on(feeding.run());
    let summary = feeding.summary();
    if fed.is_err() && summary.acknowledged > 0 {
        tell(&summary.to_string());
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
    queue: Arc<SampleQueue>,
    unacknowledged: RefCell<Unacknowledged>,
    rate_limit: RefCell<RateLimit>,
    progress: ProgressOutput,
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
                    ended.map_err(|failure| self.job.with_address(failure))
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
        let UnderWay { format, queue, unacknowledged, rate_limit, progress } = present;
        if *format != connection.accepted.format {
            let reason =
                "the job expects samples of another format than before: start again with another --client-id";
            return Ok(Err(Failure::Lasting(reason.into())));
        }
        if let Err(failure) = unacknowledged.borrow_mut().resume(connection.accepted.taken.samples) {
            return Ok(Err(failure));
        }
        let session = session::run(connection, queue, unacknowledged, rate_limit);
        Ok(tokio::select! {
            ended = session => ended,
            never = progress.print(unacknowledged) => match never {},
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
                "--batch {batch}: this job accepts frames of 1 to {most} samples"
            )));
        }
        let most = accepted.max_frame_bytes as usize;
        let queue = Arc::new(SampleQueue::new(batch, sample, most, self.stop.clone()));
        let known = accepted.taken;
        Reading::start(self.settings, &self.job.hello.client, accepted, queue.clone())?;
        Ok(UnderWay {
            format: accepted.format.clone(),
            queue,
            unacknowledged: RefCell::new(Unacknowledged::new(known.samples)),
            rate_limit: RefCell::new(RateLimit::new(self.settings.rate)),
            progress: ProgressOutput::new(known.samples),
        })
    }

    /// Returns the result of reading, once every sample is acknowledged.
    fn ended(&self) -> Result<()> {
        self.under_way.as_ref().map_or(Ok(()), |present| present.queue.result())
    }

    /// Returns the result where `stop` is set while there is no connection.
    fn given_up(&self) -> Result<()> {
        let Some(present) = &self.under_way else {
            let reason =
                format!("{}: stopped before it could be reached; nothing was sent", self.job.address());
            return Err(Error::Connection(reason));
        };
        match present.unacknowledged.borrow().waiting() {
            0 => Ok(()),
            waiting => Err(Error::Connection(format!(
                "stopped without a connection: {waiting} samples that were sent are not acknowledged; run \
                 the same command with the same --client-id to send the rest"
            ))),
        }
    }

    fn summary(&self) -> Summary {
        let seconds = self.started.elapsed().as_secs_f64();
        match &self.under_way {
            None => Summary { acknowledged: 0, known: 0, labels: 0, bad: 0, seconds },
            Some(present) => {
                let unacknowledged = present.unacknowledged.borrow();
                let bad = present.queue.bad();
                Summary {
                    acknowledged: unacknowledged.acknowledged(),
                    known: unacknowledged.known(),
                    labels: unacknowledged.labels(),
                    bad,
                    seconds,
                }
            }
        }
    }
}

async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK).await;
    }
}
