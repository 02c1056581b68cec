//! Frames that have arrived and wait for whoever takes them, and the end of the cluster. How many can wait follows from the job:
//! per worker as many steps as are under way, and the pieces of one sum. A process that sends far more ends the job.

use crate::cluster::fate::Fate;
use crate::cluster::frame::{Frame, Kind};
use parking_lot::{Condvar, Mutex};
use sluicebox_core::error::{Error, Result};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Most frames of a kind that wait for a worker: the pieces of a sum over 4 billion numbers.
const MOST: usize = 1 << 16;

/// Frames that wait, by kind and worker.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    frames: BTreeMap<(Kind, usize), VecDeque<Frame>>,
    fate: Option<Fate>,
}

impl Inbox {
    /// Puts a frame where those of this kind for this worker are looked for.
    pub fn put(&self, kind: Kind, worker: usize, frame: Frame) {
        let mut state = self.state.lock();
        if state.fate.is_some() {
            return;
        }
        let waiting = state.frames.entry((kind, worker)).or_default();
        waiting.push_back(frame);
        if waiting.len() > MOST {
            let reason = format!("more than {MOST} messages from other processes wait for worker {worker}");
            state.fate = Some(Fate::Failed { code: 1, reason });
            state.frames.clear();
        }
        self.changed.notify_all();
    }

    /// Waits for the next frame of a kind for a worker.
    ///
    /// # Errors
    /// How the cluster has ended, once it has.
    pub fn take(&self, kind: Kind, worker: usize) -> Result<Frame> {
        let mut state = self.state.lock();
        loop {
            if let Some(fate) = &state.fate {
                fate.clone().into_result()?;
                return Err(Error::Engine("the processes have parted".into()));
            }
            if let Some(frame) = state.frames.get_mut(&(kind, worker)).and_then(VecDeque::pop_front) {
                return Ok(frame);
            }
            self.changed.wait(&mut state);
        }
    }

    /// Waits for the next frame of a kind for a worker, or the end of the cluster, for at most `patience`.
    pub fn take_within(&self, kind: Kind, worker: usize, patience: Duration) -> Result<Option<Frame>, Fate> {
        let mut state = self.state.lock();
        for last in [false, true] {
            if let Some(fate) = &state.fate {
                return Err(fate.clone());
            }
            if let Some(frame) = state.frames.get_mut(&(kind, worker)).and_then(VecDeque::pop_front) {
                return Ok(Some(frame));
            }
            if last || self.changed.wait_for(&mut state, patience).timed_out() {
                break;
            }
        }
        Ok(None)
    }

    /// Ends the cluster here: nobody waits any longer. The first end stays.
    pub fn close(&self, fate: Fate) {
        let mut state = self.state.lock();
        state.fate.get_or_insert(fate);
        state.frames.clear();
        self.changed.notify_all();
    }

    /// Returns how the cluster has ended, if it has.
    pub fn fate(&self) -> Option<Fate> {
        self.state.lock().fate.clone()
    }

    /// Waits for the end of the cluster, for at most `patience`.
    pub fn await_fate(&self, patience: Duration) -> Option<Fate> {
        let mut state = self.state.lock();
        self.changed.wait_while_for(&mut state, |state| state.fate.is_none(), patience);
        state.fate.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn frames_wait_in_order_by_kind_and_worker_until_the_end() {
        let inbox = Arc::new(Inbox::default());
        for (kind, worker, body) in
            [(Kind::Sum, 1, 1), (Kind::Sum, 0, 2), (Kind::Sum, 1, 3), (Kind::Total, 1, 4)]
        {
            inbox.put(kind, worker, Frame::new(kind, worker, vec![body]));
        }
        let next = |kind, worker| inbox.take(kind, worker).unwrap().body[0];
        assert_eq!(
            [next(Kind::Sum, 1), next(Kind::Total, 1), next(Kind::Sum, 1), next(Kind::Sum, 0)],
            [1, 4, 3, 2]
        );
        let waits = inbox.clone();
        let waiting = thread::spawn(move || waits.take(Kind::Score, 7));
        inbox.close(Fate::Ended);
        inbox.close(Fate::Left);
        assert!(waiting.join().unwrap().is_err() && inbox.take(Kind::Score, 7).is_err());
        assert_eq!(inbox.fate(), Some(Fate::Ended));
        assert_eq!(inbox.take_within(Kind::Begin, 0, Duration::ZERO).unwrap_err(), Fate::Ended);
    }

    #[test]
    fn more_frames_than_a_job_has_end_it() {
        let inbox = Inbox::default();
        (0..MOST).for_each(|_| inbox.put(Kind::Sum, 3, Frame::empty(Kind::Sum)));
        assert_eq!(inbox.fate(), None);
        inbox.put(Kind::Sum, 3, Frame::empty(Kind::Sum));
        let error = inbox.take(Kind::Sum, 3).unwrap_err().to_string();
        assert!(error.contains("more than 65536 messages") && error.contains("worker 3"), "{error}");
    }
}
