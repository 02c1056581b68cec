//! How long the teacher takes to be as good as before, after the stream has changed: steps until
//! accuracy over the newest samples with a known class is 95 % of what it was.

use super::recent::Recent;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Part of the earlier accuracy that counts as recovered.
const RECOVERED: f64 = 0.95;
/// Steps within which a change is noticed.
const NOTICED: usize = 64;

/// The newest change of the stream, and what came after it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// Accuracy before, steps since and samples since, while it has not recovered.
    pending: Option<(f64, u64, u64)>,
    /// Samples since the change only.
    since: Recent,
    steps: Option<u64>,
    /// Accuracy at the newest steps, for changes that are noticed late.
    levels: VecDeque<f64>,
}

impl Recovery {
    /// The stream has changed, where accuracy was `level`. While an earlier change is not made
    /// good, its level stands.
    pub fn changed(&mut self, level: Option<f64>) {
        let level = self.pending.map(|(level, ..)| level).or(level);
        self.pending = level.map(|level| (level, 0, 0));
        self.since = Recent::default();
        self.steps = None;
    }

    /// The stream is found to have changed some steps ago: accuracy was the best there was since.
    pub fn noticed(&mut self) {
        self.changed(self.levels.iter().copied().reduce(f64::max));
    }

    /// Accuracy over the newest samples is `level`.
    pub fn level(&mut self, level: Option<f64>) {
        self.levels.extend(level);
        if self.levels.len() > NOTICED {
            self.levels.pop_front();
        }
    }

    /// A step of which `known` samples have a known class, and `right` were given it; judged once
    /// there are `window` samples.
    pub fn add(&mut self, known: u32, right: u32, window: u64) {
        let Some((level, steps, samples)) = &mut self.pending else { return };
        *steps += 1;
        *samples += u64::from(known);
        self.since.add(known, right, window);
        let enough = *samples >= window;
        if enough && self.since.accuracy().is_some_and(|accuracy| accuracy >= RECOVERED * *level) {
            self.steps = Some(*steps);
            self.pending = None;
        }
    }

    /// Steps that the newest change took; none before the first, and while it goes on.
    pub fn steps(&self) -> Option<u64> {
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_at_95_percent_of_a_full_window() {
        let mut recovery = Recovery::default();
        recovery.add(10, 10, 20);
        assert_eq!(recovery.steps(), None);
        recovery.changed(Some(0.8)); // 0.76 is enough
        for (right, steps) in [(8, None), (2, None), (7, None), (8, None), (8, Some(5))] {
            recovery.add(10, right, 20);
            assert_eq!(recovery.steps(), steps, "{recovery:?}");
        }
        recovery.changed(Some(0.9));
        recovery.add(10, 0, 20);
        recovery.changed(Some(0.1)); // not yet recovered: 0.9 still stands
        recovery.add(10, 1, 20);
        recovery.add(10, 1, 20);
        assert_eq!(recovery.steps(), None);
    }
}
