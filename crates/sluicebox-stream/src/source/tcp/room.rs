//! Room for the frames of all connections: a frame takes its own before it is read, and gives it back once it is
//! in the log. So frames take no more memory than this, however many connections have begun one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Bytes of all frames that are being read or wait for the log.
pub const BYTES: usize = 64 << 20;

/// Room for frames, shared by the connections of a listener.
pub struct Room {
    /// In KiB.
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Room {
    /// Creates room for [`BYTES`].
    pub fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(BYTES >> 10)), waiting: AtomicUsize::new(0) }
    }

    /// Takes room for a frame, in order of arrival.
    pub async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
        let size = bytes.div_ceil(1 << 10) as u32;
        if let Ok(taken) = self.free.clone().try_acquire_many_owned(size) {
            return Ok(taken);
        }
        let _waits = Waiting::new(&self.waiting);
        self.free.clone().acquire_many_owned(size).await
    }

    /// Returns whether a frame waits for room.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// Counts one that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
