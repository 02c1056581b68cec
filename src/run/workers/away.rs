//! A worker in another process, as worker 0 sees it.

use crate::cluster::{Crew, Frame, Inbox, Kind, Link};
use crate::engine::flow::{Beside, Task};
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::messages::Scored;
use sluicebox_learn::stages::effort::{Effort, Efforts};
use sluicebox_learn::stages::wire::{from_bytes, to_bytes};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use tch::Device;

/// A worker in another process.
pub struct Away {
    worker: usize,
    link: Link,
    inbox: Arc<Inbox>,
    /// Worker 0's device.
    device: Device,
    efforts: Efforts,
    /// Number of workers of its process, which share what the link carries.
    peers: u64,
    /// Bytes of the link that are counted.
    counted: Cell<u64>,
}

impl Away {
    /// Creates the view of a worker of the process at the other end of `link`, which has `peers` workers. What the worker does is
    /// added to `efforts`.
    pub fn new(
        worker: usize,
        link: &Link,
        peers: usize,
        crew: &Crew,
        device: Device,
        efforts: Efforts,
    ) -> Self {
        let (peers, counted) = (peers as u64, Cell::new(0));
        Self { worker, link: link.clone(), inbox: crew.inbox().clone(), device, efforts, peers, counted }
    }

    /// Returns the worker's share of the bytes that the link has carried since the last call.
    fn exchanged_bytes(&self) -> u64 {
        let (sent, received) = self.link.bytes();
        (sent + received - self.counted.replace(sent + received)) / self.peers
    }
}

impl Beside for Away {
    fn await_start(&self, patience: Duration) -> Result<bool> {
        match self.inbox.take_within(Kind::Ready, self.worker, patience) {
            Ok(ready) => Ok(ready.is_some()),
            Err(_) => self.inbox.take(Kind::Ready, self.worker).map(|_| true), // the error of that end
        }
    }

    fn hand_on(&self, task: Task) -> Result<()> {
        let (kind, body) = match &task {
            Task::Score(batch) => (Kind::Score, to_bytes(&**batch)),
            Task::Learn(selected) => (Kind::Learn, to_bytes(&**selected)),
        };
        self.link.send(Frame::new(kind, self.worker, body))
    }

    fn scored(&self) -> Result<Scored> {
        let frame = self.inbox.take(Kind::Scored, self.worker)?;
        let (effort, scored): (Effort, Scored) = from_bytes(&frame.body, self.device)?;
        self.efforts.add(self.worker, Effort { exchanged_bytes: self.exchanged_bytes(), ..effort });
        Ok(scored)
    }

    fn weights(&self) -> Result<u64> {
        let frame = self.inbox.take(Kind::Weights, self.worker)?;
        let hash = frame.body[..].try_into().map(u64::from_le_bytes);
        hash.map_err(|_| Error::Connection(format!("{} sends no hash of weights", self.link.name())))
    }

    fn failure(&self) -> Option<Error> {
        self.inbox.fate()?.into_result().err()
    }
}
