//! The processes of a team as it adds up gradients: pieces go to the next process, and come from the one before.

use crate::cluster::{Crew, Fate, Frame, Inbox, Kind, Link, Place};
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::stages::chain::{Arrived, Chain};
use sluicebox_learn::stages::wire::{from_bytes, to_bytes};
use std::sync::Arc;
use tch::{Device, Tensor};

/// A process's place in the line of processes.
#[derive(Debug)]
pub struct Line {
    link: Link,
    inbox: Arc<Inbox>,
    process: usize,
    processes: usize,
}

impl Line {
    /// Creates the place of process 0. It hands on to process 1; what comes for it is whole.
    pub fn first(crew: &Crew, processes: usize) -> Self {
        Self { link: crew.links()[0].clone(), inbox: crew.inbox().clone(), process: 0, processes }
    }

    /// Creates the place of another process. It has a link to process 0 only, which passes its pieces on.
    pub fn other(place: &Place, processes: usize) -> Self {
        Self { link: place.link.clone(), inbox: place.inbox.clone(), process: place.process, processes }
    }
}

impl Chain for Line {
    fn is_first(&self) -> bool {
        self.process == 0
    }

    fn is_last(&self) -> bool {
        self.process + 1 == self.processes
    }

    fn pass(&self, piece: usize, sum: &Tensor) -> Result<()> {
        let frame = Frame::new(Kind::Sum, 0, to_bytes(sum));
        self.link.send(Frame { number: piece as u32, ..frame })
    }

    fn receive(&self, worker: usize) -> Result<Arrived> {
        let frame = self.inbox.take(Kind::Sum, worker)?;
        let sum: Tensor = from_bytes(&frame.body, Device::Cpu)?;
        if sum.kind() != tch::Kind::Float {
            return Err(Error::Connection("a piece of a sum has other numbers than floats".into()));
        }
        Ok(Arrived { piece: frame.number as usize, whole: frame.kind == Kind::Total, sum })
    }

    fn close(&self, failure: Option<&Error>) {
        self.inbox.close(failure.map_or(Fate::Left, Fate::of));
    }
}
