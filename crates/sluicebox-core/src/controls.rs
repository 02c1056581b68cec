//! Requests from outside to a running job: stop, pause, checkpoint. And the other way round, whether the job is in
//! a call that may never return, such as a read from a file or a broker that does not answer.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Requests to the source, which checks them when it cuts a step.
#[derive(Debug, Clone, Default)]
pub struct Controls {
    /// End after the current step, with a checkpoint if there is a state folder.
    pub stop: Arc<AtomicBool>,
    /// Cut no steps while this is set.
    pub pause: Arc<AtomicBool>,
    checkpoint: Arc<AtomicBool>,
    /// The call to the outside that the job is in, and when it began.
    outside: Arc<Mutex<Option<(&'static str, Instant)>>>,
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
