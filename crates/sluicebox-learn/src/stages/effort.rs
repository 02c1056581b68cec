//! What each worker does between two reports. Workers add to it on their own threads; the report takes it.

use parking_lot::Mutex;
use std::sync::Arc;

/// What a worker has done.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Effort {
    /// Unlabelled samples of which it made views and scores.
    pub samples: u64,
    /// Seconds in its stages, waits for other workers included.
    pub stages_s: f64,
    /// Seconds in which it waited for other workers: for their gradients, and worker 0 for their scores.
    pub waited_s: f64,
    /// Bytes that went between it and worker 0; 0 on a thread of the same process.
    pub exchanged_bytes: u64,
}

/// What the workers of a job have done since it was taken last; clones share it.
///
/// ```
/// use sluicebox_learn::stages::effort::{Effort, Efforts};
///
/// let efforts = Efforts::new(2);
/// efforts.add(1, Effort { samples: 64, waited_s: 0.5, ..Effort::default() });
/// efforts.add(1, Effort { waited_s: 0.25, ..Effort::default() });
/// let taken = efforts.take();
/// assert_eq!((taken[0].samples, taken[1].samples, taken[1].waited_s), (0, 64, 0.75));
/// assert_eq!(efforts.take()[1], Effort::default());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Efforts(Arc<Mutex<Vec<Effort>>>);

impl Efforts {
    /// Starts counting for a number of workers.
    pub fn new(workers: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![Effort::default(); workers])))
    }

    /// Adds what a worker has done.
    pub fn add(&self, worker: usize, more: Effort) {
        if let Some(sum) = self.0.lock().get_mut(worker) {
            sum.samples += more.samples;
            sum.stages_s += more.stages_s;
            sum.waited_s += more.waited_s;
            sum.exchanged_bytes += more.exchanged_bytes;
        }
    }

    /// Takes what one worker has done since the last call.
    pub fn take_of(&self, worker: usize) -> Effort {
        self.0.lock().get_mut(worker).map(std::mem::take).unwrap_or_default()
    }

    /// Takes what each worker has done since the last call, in their order; nothing in a job with one worker.
    pub fn take(&self) -> Vec<Effort> {
        self.0.lock().iter_mut().map(std::mem::take).collect()
    }
}
