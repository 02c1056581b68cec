//! Requests from outside to a running job: stop, pause, checkpoint.

use parking_lot::Mutex;
use std::fs::File;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Name of the file in the state folder of a job that is paused.
pub const PAUSED: &str = "paused";

/// Requests to the source, which checks them when it cuts a step.
#[derive(Debug, Clone, Default)]
pub struct Controls {
    /// End after the current step, with a checkpoint if there is a state folder.
    pub stop: Arc<AtomicBool>,
    pause: Arc<Pause>,
    checkpoint: Arc<AtomicBool>,
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

impl Controls {
    /// Returns controls whose `stop` flag is shared with the caller. With a state folder, a pause outlives the
    /// process: the job is paused if it was.
    pub fn stopped_by(stop: Arc<AtomicBool>, state: Option<&Path>) -> Self {
        let file = state.map(|state| state.join(PAUSED));
        let holds = AtomicBool::new(file.as_ref().is_some_and(|file| file.exists()));
        Self { stop, pause: Arc::new(Pause { holds, file, turn: Mutex::default() }), ..Self::default() }
    }

    /// Pauses the job, or lets it go on. Blocks until that is kept in the state folder.
    ///
    /// ```
    /// use sluicebox_core::controls::Controls;
    /// # let folder = tempfile::tempdir()?;
    /// let controls = || Controls::stopped_by(Default::default(), Some(folder.path()));
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

    /// Requests a checkpoint after the next step.
    pub fn ask_for_checkpoint(&self) {
        self.checkpoint.store(true, Ordering::Relaxed);
    }

    /// Returns whether a checkpoint was requested since the last call.
    pub fn take_checkpoint(&self) -> bool {
        self.checkpoint.swap(false, Ordering::Relaxed)
    }

    /// Returns whether the job is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
