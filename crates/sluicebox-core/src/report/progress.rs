//! How far a job has got, written at each step without a lock.

use super::Progress;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Progress of the job, written at each step without a lock.
#[derive(Debug, Default)]
pub struct ProgressCounter {
    epoch: AtomicU64,
    done: AtomicU64,
    of: AtomicU64,
    over: AtomicBool,
}

impl ProgressCounter {
    /// Records a finished step of `epoch`.
    pub fn step(&self, epoch: u64, done: u64, of: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
        self.of.store(of, Ordering::Relaxed);
    }

    /// Records the end of the job.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Returns the progress.
    pub fn read(&self) -> Progress {
        Progress {
            epoch: self.epoch.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
            of: self.of.load(Ordering::Relaxed),
            paused: false,
            over: self.over.load(Ordering::Relaxed),
        }
    }
}
