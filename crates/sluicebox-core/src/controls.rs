//! Requests to a running job: stop, pause, checkpoint. And the other way round, its health, and whether it is in a
//! call that may never return, such as a read from a file or a broker that does not answer.

use crate::backlog::Backlog;
use crate::health::Health;
use parking_lot::Mutex;
use std::fs::File;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Name of the file in the state folder of a job that is paused.
pub const PAUSED: &str = "paused";

/// Requests to the source, which checks them when it cuts a step, and also while it waits.
#[derive(Debug, Clone, Default)]
pub struct Controls {
    /// End after the current step, with a checkpoint if there is a state folder.
    pub stop: Arc<AtomicBool>,
    pause: Arc<Pause>,
    /// Time from which on a step takes a checkpoint.
    checkpoint: Arc<Mutex<Option<Instant>>>,
    /// Step at which the job ends, once that is settled while it runs.
    end: Arc<OnceLock<u64>>,
    /// How the job is. The source ends a job that has failed.
    pub health: Health,
    /// Records that wait where sources read them.
    pub backlog: Backlog,
    /// Since when the source waits for samples.
    starved: Arc<Mutex<Option<Instant>>>,
    /// The call to the outside that the job is in, and when it began.
    outside: Arc<Mutex<Option<(&'static str, Instant)>>>,
}

/// Whether no steps are cut.
#[derive(Debug, Default)]
struct Pause {
    holds: AtomicBool,
    /// File that is there while the job is paused; none: a restart forgets the pause.
    file: Option<PathBuf>,
    /// Held while the file changes.
    turn: Mutex<()>,
}

impl From<Arc<AtomicBool>> for Controls {
    fn from(stop: Arc<AtomicBool>) -> Self {
        Self::stopped_by(stop)
    }
}

impl Controls {
    /// Returns controls whose `stop` flag is shared with the caller.
    pub fn stopped_by(stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..Self::default() }
    }

    /// Records since when the source waits for samples; `None`: it has some.
    pub fn set_starved(&self, since: Option<Instant>) {
        *self.starved.lock() = since;
    }

    /// Returns whether the source has waited for samples for `least`.
    pub fn starves_for(&self, least: Duration) -> bool {
        self.starved.lock().is_some_and(|since| since.elapsed() >= least)
    }

    /// Keeps a pause in a state folder, so that it outlives the process: the job is paused if it was. Clones that
    /// were made before share no pause with these controls.
    pub fn keep_pause_in(&mut self, state: &Path) {
        let file = state.join(PAUSED);
        let holds = AtomicBool::new(file.exists());
        self.pause = Arc::new(Pause { holds, file: Some(file), turn: Mutex::default() });
    }

    /// Pauses the job, or lets it go on. Blocks until that is kept in the state folder.
    ///
    /// ```
    /// use sluicebox_core::controls::Controls;
    /// # let folder = tempfile::tempdir()?;
    /// let controls = || {
    ///     let mut controls = Controls::default();
    ///     controls.keep_pause_in(folder.path());
    ///     controls
    /// };
    /// controls().pause(true)?;
    /// assert!(controls().is_paused());
    /// controls().pause(false)?;
    /// assert!(!controls().is_paused());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Any error of the file system; nothing has changed then.
    pub fn pause(&self, wanted: bool) -> Result<()> {
        let _turn = self.pause.turn.lock();
        match &self.pause.file {
            Some(file) if wanted => crate::fs::replace(file, b"")?,
            Some(file) => match std::fs::remove_file(file) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?,
            },
            None => {}
        }
        self.pause.holds.store(wanted, Ordering::Relaxed);
        Ok(())
    }

    /// Returns whether the job is paused.
    pub fn is_paused(&self) -> bool {
        self.pause.holds.load(Ordering::Relaxed)
    }

    /// Requests a checkpoint after the next step. A job that waits for samples takes one at once.
    pub fn ask_for_checkpoint(&self) {
        self.ask_for_checkpoint_in(Duration::ZERO);
    }

    /// Requests a checkpoint after this duration; an earlier request stays.
    pub fn ask_for_checkpoint_in(&self, wait: Duration) {
        let due = Instant::now() + wait;
        let mut asked = self.checkpoint.lock();
        *asked = Some(asked.map_or(due, |earlier| earlier.min(due)));
    }

    /// Returns whether a requested checkpoint is due.
    pub fn is_checkpoint_due(&self) -> bool {
        self.checkpoint.lock().is_some_and(|due| due <= Instant::now())
    }

    /// Returns whether a requested checkpoint is due, and takes the request back.
    pub fn take_checkpoint(&self) -> bool {
        let now = Instant::now();
        self.checkpoint.lock().take_if(|due| *due <= now).is_some()
    }

    /// Ends the job before `step`. So that a resumed job ends there too, `step` must not have been cut yet. A second
    /// end is not heard.
    pub fn end_at(&self, step: u64) {
        let _ = self.end.set(step);
    }

    /// Returns the step before which the job ends, if that is settled.
    pub fn end(&self) -> Option<u64> {
        self.end.get().copied()
    }

    /// Returns whether the job is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Makes a call that may never return, and says meanwhile that the job is `doing` it.
    pub fn outside<T>(&self, doing: &'static str, call: impl FnOnce() -> T) -> T {
        *self.outside.lock() = Some((doing, Instant::now()));
        let result = call();
        *self.outside.lock() = None;
        result
    }

    /// Returns the call to the outside that the job is in, and for how long.
    pub fn is_outside(&self) -> Option<(&'static str, Duration)> {
        self.outside.lock().map(|(doing, since)| (doing, since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_once_and_not_before_its_time() {
        let controls = Controls::default();
        assert!(!controls.is_checkpoint_due() && !controls.take_checkpoint());
        controls.ask_for_checkpoint_in(Duration::from_secs(3600));
        assert!(!controls.is_checkpoint_due() && !controls.take_checkpoint());
        controls.ask_for_checkpoint();
        controls.ask_for_checkpoint_in(Duration::from_secs(3600));
        assert!(controls.is_checkpoint_due() && controls.take_checkpoint());
        assert!(!controls.is_checkpoint_due() && !controls.take_checkpoint());
    }
}
