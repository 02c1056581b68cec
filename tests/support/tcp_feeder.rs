//! A feeder over TCP that counts on nothing: it may be cut off at any time and goes on where the job says.

#![allow(dead_code, missing_docs)]

use crate::fed_job::values;
use sluicebox_client::feed::connection::{Failure, Job};
use sluicebox_core::sample::{Block, SampleClass};
use sluicebox_stream::protocol::{Frame, Reply, record};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// A feeder whose sample number n has the id `first_id` + n; every fourth has a label.
pub struct Feeder {
    pub first_id: u64,
    /// Samples that were sent, and those that the job has acknowledged.
    pub sent: u64,
    pub acknowledged: u64,
    job: Job,
    runtime: Runtime,
}

/// How feeding ended.
#[derive(Debug, PartialEq)]
pub enum Fed {
    All,
    /// There was no acknowledgement in time.
    Waits,
    /// The connection failed, or the job is not there.
    CutOff(String),
    /// The job refuses the feeder for good.
    Refused(String),
}

impl Feeder {
    pub fn new(port: u16, client: &str, first_id: u64) -> Self {
        let job = Job::new(&format!("127.0.0.1:{port}"), client, None, None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { first_id, sent: 0, acknowledged: 0, job, runtime }
    }

    /// Returns the ids of the samples that were sent, but not acknowledged.
    pub fn unsure(&self) -> impl Iterator<Item = u64> {
        self.first_id + self.acknowledged..self.first_id + self.sent
    }

    /// Feeds up to sample `to` in frames of `batch`. Adds to `acknowledged`, as ids, what the job has taken
    /// since it said where to go on.
    pub fn feed(&mut self, to: u64, batch: u64, limit: Duration, acknowledged: &mut Vec<u64>) -> Fed {
        let (job, first_id) = (self.job.clone(), self.first_id);
        let (sent, known) = (&mut self.sent, &mut self.acknowledged);
        let feeding = async {
            let mut connection = job.connect().await?;
            let taken = connection.accepted.taken.samples;
            let mut next = taken;
            *known = taken;
            acknowledged.extend(first_id..first_id + taken.min(to));
            while next < to {
                let end = to.min(next + batch);
                let ids: Vec<u64> = (first_id + next..first_id + end).collect();
                let bytes = ids.iter().flat_map(|id| values(*id)).collect();
                let class = |(at, id): (usize, &u64)| {
                    (id % 4 == 3).then_some(SampleClass { at: at as u32, class: (id % 10) as u32 })
                };
                let classes = ids.iter().enumerate().filter_map(class).collect();
                *sent = end.max(*sent);
                let frame =
                    record(&Frame { first: next, block: Block { ids, classes, bytes, ..Block::default() } });
                let cut = |error: std::io::Error| Failure::Passing(error.to_string());
                connection.writer.write_all(&frame).await.map_err(cut)?;
                connection.writer.flush().await.map_err(cut)?;
                next = end;
            }
            while *known < to {
                if let Reply::Ack(ack) = connection.reader.reply().await? {
                    acknowledged.extend(first_id + *known..first_id + ack.samples);
                    *known = ack.samples;
                }
            }
            Ok(())
        };
        match self.runtime.block_on(async { timeout(limit, feeding).await }) {
            Ok(Ok(())) => Fed::All,
            Ok(Err(Failure::Passing(text))) => Fed::CutOff(text),
            Ok(Err(Failure::Lasting(text))) => Fed::Refused(text),
            Err(_) => Fed::Waits,
        }
    }
}
