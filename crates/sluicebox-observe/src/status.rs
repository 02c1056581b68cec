//! Job status: description, progress, newest report, log lines, thumbnails and history of a running job.
//! Reading it never blocks the job.

use crate::gallery::Thumbnails;
use crate::history::History;
use parking_lot::{Mutex, MutexGuard};
use sluicebox_core::controls::Controls;
use sluicebox_core::error::Result;
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::progress::ProgressCounter;
use sluicebox_core::report::{About, Line, Mark, Progress, Report};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Number of log lines, and of marks, kept.
const LINES: usize = 256;

/// Time without a sample after which a fed job is shown as waiting for some.
const WAITS: Duration = Duration::from_secs(2);

/// Status of a job.
pub struct JobStatus {
    /// Description of the job.
    pub about: About,
    /// Progress of the job.
    pub clock: Arc<ProgressCounter>,
    /// Requests to the job.
    pub controls: Controls,
    /// Thumbnails.
    pub thumbnails: Arc<Mutex<Thumbnails>>,
    history: Mutex<History>,
    newest: watch::Sender<Option<Arc<Report>>>,
    lines: watch::Sender<VecDeque<Arc<Line>>>,
    marks: watch::Sender<VecDeque<Arc<Mark>>>,
}

impl JobStatus {
    /// Returns the status of a job.
    pub fn new(
        about: About,
        clock: Arc<ProgressCounter>,
        controls: Controls,
        thumbnails: Arc<Mutex<Thumbnails>>,
        history: History,
    ) -> Self {
        let (newest, lines, marks) =
            (watch::Sender::new(None), watch::Sender::default(), watch::Sender::default());
        let history = Mutex::new(history);
        Self { about, clock, controls, thumbnails, history, newest, lines, marks }
    }

    /// Returns the status of a job that does not run, as its history tells it; `state` is its folder.
    pub fn ended(history: History, state: &Path) -> Result<Self> {
        let newest = history.span()?.map(|(_, last)| history.report(last)).transpose()?.flatten();
        let about = About {
            fed: false, // nothing can be sent to it
            pid: std::process::id(),
            state: Some(state.display().to_string()),
            ended_ms: Some(newest.as_ref().map_or(0, |report| report.ended_ms)),
            ..history.about()?
        };
        let clock = Arc::<ProgressCounter>::default();
        clock.step(newest.as_ref().map_or(0, |report| report.epoch), about.epoch_steps, about.epoch_steps);
        clock.end();
        let status = Self::new(about, clock, Controls::default(), Arc::default(), history);
        status.newest.send_replace(newest.map(Arc::new));
        Ok(status)
    }

    /// Returns a receiver of the newest report, which wakes up at the next one.
    pub fn reports(&self) -> watch::Receiver<Option<Arc<Report>>> {
        self.newest.subscribe()
    }

    /// Returns a receiver of the newest lines, which wakes up at the next one.
    pub fn lines(&self) -> watch::Receiver<VecDeque<Arc<Line>>> {
        self.lines.subscribe()
    }

    /// Returns a receiver of the newest marks, the newest first, which wakes up at the next one.
    pub fn marks(&self) -> watch::Receiver<VecDeque<Arc<Mark>>> {
        self.marks.subscribe()
    }

    /// Locks the history. Hold it briefly, and not on the runtime's own threads.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock()
    }

    /// Returns the progress of the job.
    pub fn progress(&self) -> Progress {
        let consumer_lag = self.controls.backlog.sum();
        let (now, paused) = (self.clock.read(), self.controls.is_paused());
        let waiting = self.about.fed && !paused && !now.over && self.controls.starves_for(WAITS);
        Progress { paused, waiting, consumer_lag, ..now }
    }
}

/// Observer that writes events to the job status.
pub struct StatusObserver(pub Arc<JobStatus>);

impl Observer for StatusObserver {
    fn name(&self) -> String {
        "status".into()
    }

    fn notify(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            match event {
                Event::Epoch(report) => _ = self.0.newest.send_replace(Some(report.clone())),
                Event::Line(line) => self.0.lines.send_modify(|lines| keep(lines, line)),
                Event::Mark(mark) => self.0.marks.send_modify(|marks| keep(marks, mark)),
            }
        }
        Ok(())
    }
}

/// Keeps the newest of something, the newest first.
fn keep<T>(newest: &mut VecDeque<Arc<T>>, one: &Arc<T>) {
    newest.truncate(LINES - 1);
    newest.push_front(one.clone());
}
