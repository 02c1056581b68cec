//! Requests from outside to a running job: stop, pause, checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Requests to the source, which checks them when it cuts a step.
#[derive(Debug, Clone, Default)]
pub struct Controls {
    /// End after the current step, with a checkpoint if there is a state folder.
    pub stop: Arc<AtomicBool>,
    /// Cut no steps while this is set.
    pub pause: Arc<AtomicBool>,
    checkpoint: Arc<AtomicBool>,
}

impl Controls {
    /// Returns controls whose `stop` flag is shared with the caller.
    pub fn stopped_by(stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..Self::default() }
    }

    /// Requests a checkpoint after the next step.
    pub fn ask_for_checkpoint(&self) {
        self.checkpoint.store(true, Ordering::Relaxed);
    }

    /// Returns whether a checkpoint was requested since the last call.
    pub fn take_checkpoint(&self) -> bool {
        self.checkpoint.swap(false, Ordering::Relaxed)
    }

    /// Returns whether the job is paused.
    pub fn is_paused(&self) -> bool {
        self.pause.load(Ordering::Relaxed)
    }

    /// Returns whether the job is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
