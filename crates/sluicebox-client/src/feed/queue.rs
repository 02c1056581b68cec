//! Queue between the thread that reads and the task that sends: samples collect here until they
//! fill a frame or have waited long enough.

use parking_lot::{Condvar, Mutex, MutexGuard};
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Block, SampleClass, Values};
use sluicebox_core::sample_id::SampleId;
use sluicebox_stream::protocol::{frame_bytes, name_bytes};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Longest time that samples of a slow input wait for a full frame.
const LONGEST: Duration = Duration::from_millis(100);
/// Interval at which `take` checks that time.
const LOOK: Duration = Duration::from_millis(20);

/// The samples of the next frame.
pub struct SampleQueue {
    samples: usize,
    sample_bytes: usize,
    /// Maximum size of a frame, in bytes.
    frame_bytes: usize,
    stop: Arc<AtomicBool>,
    gathered: Mutex<Gathered>,
    taken: Condvar,
    full: Notify,
    bad: AtomicU64,
}

#[derive(Default)]
struct Gathered {
    block: Block,
    count: usize,
    /// Bytes of the names in the block.
    name_bytes: usize,
    since: Option<Instant>,
    /// A sample waits for the next block: this one is full, or only one of the two has ids.
    closed: bool,
    /// Result of reading, once it has ended.
    end: Option<Result<()>>,
}

impl SampleQueue {
    /// Creates a queue for frames of `samples` samples of `sample_bytes` bytes, or of fewer where their names would make
    /// a frame of more than `frame_bytes`. `stop` ends it.
    pub fn new(samples: usize, sample_bytes: usize, frame_bytes: usize, stop: Arc<AtomicBool>) -> Self {
        let (gathered, taken, full) = (Mutex::default(), Condvar::new(), Notify::new());
        Self { samples, sample_bytes, frame_bytes, stop, gathered, taken, full, bad: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock()
    }

    /// Adds a sample, blocking while the frame is full; returns false once stopped.
    pub fn push(&self, id: Option<SampleId>, values: &Values, class: Option<u32>) -> bool {
        let named = id.as_ref().and_then(|id| id.name.as_ref()).map_or(0, name_bytes);
        let mut gathered = self.lock();
        // Either all samples of a block carry ids or none does.
        while gathered.count == self.samples
            || (gathered.count > 0
                && (gathered.block.ids.is_empty() != id.is_none()
                    || frame_bytes(gathered.count + 1, self.sample_bytes) + gathered.name_bytes + named
                        > self.frame_bytes))
        {
            gathered.closed = true;
            self.full.notify_one();
            self.taken.wait_for(&mut gathered, LONGEST);
            if self.is_stopped() {
                return false;
            }
        }
        if gathered.count == 0 {
            gathered.block.bytes.reserve(self.samples * self.sample_bytes);
            gathered.since = Some(Instant::now());
        }
        let at = gathered.count as u32;
        id.into_iter().for_each(|id| gathered.block.push_id(id));
        gathered.name_bytes += named;
        gathered.block.classes.extend(class.map(|class| SampleClass { at, class }));
        gathered.block.push(values);
        gathered.count += 1;
        if gathered.count == self.samples {
            self.full.notify_one();
        }
        !self.is_stopped()
    }

    /// Returns whether the feeder was stopped.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Records the result of reading, which has ended.
    pub fn end(&self, result: Result<()>) {
        self.lock().end = Some(result);
        self.full.notify_one();
    }

    /// Counts a bad record that was left out.
    pub fn skip(&self) {
        self.bad.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of bad records left out.
    pub fn bad(&self) -> u64 {
        self.bad.load(Ordering::Relaxed)
    }

    /// Returns the samples of the next frame and their number; none at the end.
    pub async fn take(&self) -> Option<(Block, u64)> {
        loop {
            {
                let mut gathered = self.lock();
                let ended = gathered.end.is_some() || self.is_stopped();
                if gathered.count == 0 && ended {
                    return None;
                }
                let waited = gathered.since.is_some_and(|since| since.elapsed() >= LONGEST);
                let full = gathered.count == self.samples || gathered.closed;
                if gathered.count > 0 && (full || waited || ended) {
                    let end = gathered.end.take();
                    let full = std::mem::replace(&mut *gathered, Gathered { end, ..Gathered::default() });
                    self.taken.notify_one();
                    return Some((full.block, full.count as u64));
                }
            }
            let _ = tokio::time::timeout(LOOK, self.full.notified()).await; // either way, look again
        }
    }

    /// Returns the result of reading; only the first call returns its error.
    pub fn result(&self) -> Result<()> {
        self.lock().end.take().unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_full_or_have_waited_and_do_not_mix() {
        let queue = Arc::new(SampleQueue::new(3, 4, frame_bytes(3, 4) + 40, Arc::default()));
        let reader = queue.clone();
        let value = |number: u64| Values::F32(vec![number as f32]);
        let reading = std::thread::spawn(move || {
            let class = |number: u64| (number % 4 == 1).then_some(number as u32);
            (0..7).for_each(|number| assert!(reader.push(None, &value(number), class(number))));
            let id = |number: u64| match number {
                7 | 8 => SampleId::number(number),
                long => SampleId::plain(&format!("{long:020}")).unwrap(),
            };
            (7..11).for_each(|number| assert!(reader.push(Some(id(number)), &value(number), None)));
            reader
        });
        let one = |at, class| vec![SampleClass { at, class }];
        for (ids, classes, count) in
            [(0, one(1, 1), 3), (0, one(2, 5), 3), (0, vec![], 1), (3, vec![], 3), (1, vec![], 1)]
        {
            let (block, taken) = queue.take().await.unwrap();
            assert_eq!((block.ids.len(), taken, block.bytes.len()), (ids, count, 4 * count as usize));
            assert_eq!(block.classes, classes);
        }
        reading.join().unwrap().end(Ok(()));
        assert!(queue.take().await.is_none());
    }
}
