//! Recovery after a change of the stream: steps until accuracy over the newest samples with a known class is
//! 95 % of its former value.

use crate::engine::metrics::recent::Recent;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Fraction of the earlier accuracy that counts as recovered.
const RECOVERED: f64 = 0.95;
/// Steps within which the detector is taken to notice a change.
const NOTICED: usize = 64;

/// The newest change of the stream and the recovery from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// Accuracy before the change, steps since and samples since, until recovered.
    pending: Option<(f64, u64, u64)>,
    /// Accuracy over samples since the change.
    since: Recent,
    steps: Option<u64>,
    /// Accuracy at the newest steps, for changes that are noticed with a delay.
    levels: VecDeque<f64>,
}

impl Recovery {
    /// Starts a recovery after a change at accuracy `level`. If an earlier change has not been recovered
    /// from, its level stays.
    pub fn changed(&mut self, level: Option<f64>) {
        let level = self.pending.map(|(level, ..)| level).or(level);
        self.pending = level.map(|level| (level, 0, 0));
        self.since = Recent::default();
        self.steps = None;
    }

    /// Starts a recovery after a change noticed with a delay: the level is the best of the last `NOTICED`
    /// steps.
    pub fn noticed(&mut self) {
        self.changed(self.levels.iter().copied().reduce(f64::max));
    }

    /// Records the accuracy over the newest samples.
    pub fn level(&mut self, level: Option<f64>) {
        self.levels.extend(level);
        if self.levels.len() > NOTICED {
            self.levels.pop_front();
        }
    }

    /// Adds a step with `known` samples of known class, of which `right` were predicted correctly. Recovery
    /// is judged once `window` known samples have come.
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

    /// Steps that recovery from the newest change took; none before the first change and during recovery.
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
