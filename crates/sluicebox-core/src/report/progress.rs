//! Progress of a job, written at each step without a lock.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Progress of a job within its epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Number of the current epoch, from 1.
    pub epoch: u64,
    /// Steps done in the epoch.
    pub done: u64,
    /// Steps per epoch.
    pub of: u64,
    /// Whether the job is paused.
    pub paused: bool,
    /// Whether the job has ended.
    pub over: bool,
    /// Whether the job is fed, and has had no samples for a step for two seconds.
    #[serde(default)]
    pub waiting: bool,
    /// Records that wait where sources read them, if any source knows; read at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_lag: Option<u64>,
}

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
            waiting: false,
            over: self.over.load(Ordering::Relaxed),
            consumer_lag: None,
        }
    }
}
