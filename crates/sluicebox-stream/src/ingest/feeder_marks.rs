//! How far feeders have come in what steps have read of the log: the marks that a checkpoint holds. The marks of the
//! log itself run ahead of it; if the log is lost, its feeders go on from here.

use crate::ingest::saved::Mark;
use std::collections::{BTreeMap, VecDeque};

/// Maximum feeders whose progress checkpoints hold.
pub const MOST_FEEDERS: usize = 1 << 16;
/// Maximum marks of a feeder that wait until their record is read. A further one replaces the newest: the oldest is the
/// next to be reached, so that progress moves on however far ahead a feeder is.
const AHEAD: usize = 16;

/// The marks of all feeders, by key.
#[derive(Default)]
pub struct FeederMarks {
    feeders: BTreeMap<Vec<u8>, Feeder>,
    /// Whether there were more than [`MOST_FEEDERS`].
    pub are_too_many: bool,
}

#[derive(Default)]
struct Feeder {
    /// Mark of the newest record that is known to be read.
    read: Option<Vec<u8>>,
    /// Later marks, each with the number of its record.
    ahead: VecDeque<(u64, Vec<u8>)>,
}

impl FeederMarks {
    /// Sets a mark that a checkpoint holds.
    pub fn restore(&mut self, (key, value): Mark) {
        if let Some(feeder) = self.feeder(key) {
            feeder.read = Some(value);
        }
    }

    /// Adds a mark that was written with record `sequence`.
    pub fn add(&mut self, sequence: u64, (key, value): Mark) {
        let Some(feeder) = self.feeder(key) else { return };
        if feeder.ahead.len() == AHEAD {
            feeder.ahead.pop_back();
        }
        feeder.ahead.push_back((sequence, value));
    }

    /// Returns the newest mark of each feeder among the records before `position`. Of a feeder whose records were read
    /// further than others it is behind: what it sends again after a loss is known by its ids.
    pub fn before(&mut self, position: u64) -> Vec<Mark> {
        for feeder in self.feeders.values_mut() {
            while feeder.ahead.front().is_some_and(|(sequence, _)| *sequence < position) {
                feeder.read = feeder.ahead.pop_front().map(|(_, value)| value);
            }
        }
        let read = |(key, feeder): (&Vec<u8>, &Feeder)| Some((key.clone(), feeder.read.clone()?));
        self.feeders.iter().filter_map(read).collect()
    }

    fn feeder(&mut self, key: Vec<u8>) -> Option<&mut Feeder> {
        if self.feeders.len() >= MOST_FEEDERS && !self.feeders.contains_key(&key) {
            self.are_too_many = true;
            return None;
        }
        Some(self.feeders.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(key: u8, value: u8) -> Mark {
        (vec![key], vec![value])
    }

    #[test]
    fn a_checkpoint_holds_what_its_steps_have_read() {
        let mut marks = FeederMarks::default();
        marks.restore(mark(1, 10));
        (0..3).for_each(|at| marks.add(5 + at, mark(1, 11 + at as u8)));
        marks.add(6, mark(2, 20));
        assert_eq!(marks.before(5), [mark(1, 10)]);
        assert_eq!(marks.before(7), [mark(1, 12), mark(2, 20)]);
        assert_eq!(marks.before(9), [mark(1, 13), mark(2, 20)]);
    }

    #[test]
    fn progress_moves_on_while_a_feeder_is_always_far_ahead() {
        let mut marks = FeederMarks::default();
        let far = 5 * AHEAD as u64;
        for at in 0..200 {
            marks.add(at, mark(1, at as u8));
            let position = at.saturating_sub(far); // what steps have read
            let behind =
                marks.before(position).first().map_or(position, |(_, value)| position - u64::from(value[0]));
            assert!(behind <= far, "{behind} records behind at {position}");
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut marks = FeederMarks::default();
        (0..100).for_each(|at| marks.add(at, mark(1, at as u8)));
        assert_eq!(marks.feeders[&vec![1]].ahead.len(), AHEAD);
        assert_eq!(marks.before(1), [mark(1, 0)]);
        assert_eq!(marks.before(50), [mark(1, AHEAD as u8 - 2)]);
        assert_eq!(marks.before(100), [mark(1, 99)]);
        for feeder in 0..MOST_FEEDERS as u32 {
            marks.add(200, (feeder.to_le_bytes().to_vec(), vec![]));
        }
        assert!(marks.are_too_many && marks.feeders.len() == MOST_FEEDERS);
    }
}
