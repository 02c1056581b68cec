//! What someone outside may ask of a running job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Requests to the source, which looks at them where it cuts a step.
#[derive(Debug, Clone, Default)]
pub struct Controls {
    /// End after the present step, with a checkpoint where there is a state folder.
    pub stop: Arc<AtomicBool>,
    /// Cut no more steps until it is lowered.
    pub pause: Arc<AtomicBool>,
    checkpoint: Arc<AtomicBool>,
}

impl Controls {
    /// Controls whose `stop` somebody else raises too.
    pub fn stopped_by(stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..Self::default() }
    }

    /// Asks for a checkpoint after the next step.
    pub fn ask_for_checkpoint(&self) {
        self.checkpoint.store(true, Ordering::Relaxed);
    }

    /// Whether one was asked for since the last time.
    pub fn take_checkpoint(&self) -> bool {
        self.checkpoint.swap(false, Ordering::Relaxed)
    }

    /// Whether the job is to wait.
    pub fn is_paused(&self) -> bool {
        self.pause.load(Ordering::Relaxed)
    }

    /// Whether the job is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
