//! A worker in another process, as worker 0 sees it.

use crate::cluster::{Crew, Frame, Inbox, Kind, Link};
use crate::engine::flow::{Beside, Task};
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::messages::Scored;
use sluicebox_learn::stages::wire::{from_bytes, to_bytes};
use std::sync::Arc;
use tch::Device;

/// A worker in another process.
pub struct Away {
    worker: usize,
    link: Link,
    inbox: Arc<Inbox>,
    /// Worker 0's device.
    device: Device,
}

impl Away {
    /// Creates the view of a worker of the process at the other end of `link`.
    pub fn new(worker: usize, link: &Link, crew: &Crew, device: Device) -> Self {
        Self { worker, link: link.clone(), inbox: crew.inbox().clone(), device }
    }
}

impl Beside for Away {
    fn await_start(&self) -> Result<()> {
        self.inbox.take(Kind::Ready, self.worker).map(drop)
    }

    fn hand_on(&self, task: Task) -> Result<()> {
        let (kind, body) = match &task {
            Task::Score(batch) => (Kind::Score, to_bytes(&**batch)),
            Task::Learn(selected) => (Kind::Learn, to_bytes(&**selected)),
        };
        self.link.send(Frame::new(kind, self.worker, body))
    }

    fn scored(&self) -> Result<Scored> {
        from_bytes(&self.inbox.take(Kind::Scored, self.worker)?.body, self.device)
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
