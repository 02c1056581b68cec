//! How far the reader is behind the end of the topic: the messages of each partition that are not in a step yet. What a
//! transaction writes beside messages counts too.

use sluicebox_core::backlog::Backlog;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Shortest interval between two counts.
const INTERVAL: Duration = Duration::from_millis(200);

/// Lag of a reader.
#[derive(Default)]
pub struct Lag {
    looked: Option<Instant>,
    sum: Option<u64>,
    shown: Option<Backlog>,
}

impl Lag {
    /// Also shows the lag of each partition there.
    pub fn show_in(&mut self, backlog: Backlog) {
        self.shown = Some(backlog);
    }

    /// Returns the lag over all partitions; none before the ends are known.
    pub fn sum(&self) -> Option<u64> {
        self.sum
    }

    /// Counts, unless that was done just now. The reader may be past ends that are not of this moment.
    pub fn look(&mut self, topic: &str, ends: &BTreeMap<i32, i64>, next: &BTreeMap<i32, i64>) {
        if ends.is_empty() || self.looked.is_some_and(|looked| looked.elapsed() < INTERVAL) {
            return;
        }
        self.looked = Some(Instant::now());
        let lag = |(partition, end): (&i32, &i64)| {
            let behind = end - next.get(partition).unwrap_or(end);
            (*partition, behind.max(0) as u64)
        };
        let lags: Vec<(i32, u64)> = ends.iter().map(lag).collect();
        self.sum = Some(lags.iter().map(|(_, lag)| lag).sum());
        if let Some(backlog) = &self.shown {
            backlog.set(topic, lags);
        }
    }
}
