//! Near-future blind classifier: predicts a label `shift` samples ahead as the most frequent of the
//! last k labels, without seeing any sample (Prabhu et al. 2023, "Online continual learning without
//! the storage constraint", on label correlation). At a shift where it is no better than chance,
//! runs of equal labels do not help accuracy in the near-future test.

use serde::{Deserialize, Serialize};
use sluicebox_core::sample::Truth;
use std::collections::{BTreeMap, VecDeque};

/// Values of k: number of last labels that vote.
const WINDOWS: [usize; 3] = [1, 16, 256];
/// Number of shifts: 0 and powers of two up to 2^14.
const SHIFTS: usize = 16;
/// Predictions needed before a shift is judged.
const ENOUGH: u64 = 1000;
/// Accuracy this close to chance counts as chance (or within 3 standard deviations, if that is
/// more).
const MARGIN: f64 = 0.01;

fn shift(at: usize) -> usize {
    if at == 0 { 0 } else { 1 << (at - 1) }
}

/// Blind classifier of one stream, for all k and shifts at once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BlindClassifier {
    modes: [Mode; WINDOWS.len()],
    /// Predictions made by shift, and correct predictions by shift and k.
    made: [u64; SHIFTS],
    right: [[u64; WINDOWS.len()]; SHIFTS],
    counts: BTreeMap<u32, u64>,
    known: u64,
}

/// Most frequent of the newest labels, with its history.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Mode {
    newest: VecDeque<u32>,
    counts: BTreeMap<u32, u32>,
    mode: u32,
    /// `mode` after each of the newest labels, the newest last.
    earlier: VecDeque<u32>,
}

impl Mode {
    fn add(&mut self, label: u32, window: usize) {
        self.newest.push_back(label);
        *self.counts.entry(label).or_default() += 1;
        if self.newest.len() > window
            && let Some(oldest) = self.newest.pop_front()
        {
            let left = self.counts.entry(oldest).or_default();
            *left -= 1;
            if *left == 0 {
                self.counts.remove(&oldest);
            }
            if oldest == self.mode {
                let most = self.counts.iter().max_by_key(|(_, count)| **count);
                self.mode = most.map_or(label, |(class, _)| *class);
            }
        }
        let of = |class: u32| self.counts.get(&class).copied().unwrap_or(0);
        if of(label) > of(self.mode) {
            self.mode = label;
        }
        self.earlier.push_back(self.mode);
        if self.earlier.len() > shift(SHIFTS - 1) + 1 {
            self.earlier.pop_front();
        }
    }
}

impl BlindClassifier {
    /// Adds the known classes of a step's samples.
    pub fn add(&mut self, truth: &Truth) {
        truth
            .reveal()
            .iter()
            .filter_map(|class| u32::try_from(*class).ok())
            .for_each(|class| self.label(class));
    }

    fn label(&mut self, class: u32) {
        let past = self.modes[0].earlier.len();
        for at in 0..SHIFTS {
            let Some(then) = past.checked_sub(1 + shift(at)) else { break };
            self.made[at] += 1;
            for (right, mode) in self.right[at].iter_mut().zip(&self.modes) {
                *right += u64::from(mode.earlier[then] == class);
            }
        }
        for (mode, window) in self.modes.iter_mut().zip(WINDOWS) {
            mode.add(class, window);
        }
        *self.counts.entry(class).or_default() += 1;
        self.known += 1;
    }

    /// Returns the smallest shift at which the classifier is no better than naming the most
    /// frequent class. None if there is no such shift, or too few labels have been seen.
    pub fn shift(&self) -> Option<u64> {
        let chance = self.counts.values().max().copied()? as f64 / self.known as f64;
        let at_chance = |at: &usize| {
            let made = self.made[*at] as f64;
            let best = self.right[*at].iter().max().copied().unwrap_or(0) as f64 / made;
            best <= chance + MARGIN.max(3.0 * (chance * (1.0 - chance) / made).sqrt())
        };
        let judged = (0..SHIFTS).take_while(|at| self.made[*at] >= ENOUGH);
        { judged }.find(at_chance).map(|at| shift(at) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use sluicebox_core::rng::{Randomness, Stage};

    fn fed(labels: impl Iterator<Item = u32>) -> BlindClassifier {
        let mut blind = BlindClassifier::default();
        labels.for_each(|label| blind.label(label));
        blind
    }

    #[test]
    fn labels_without_order_need_no_shift() {
        let mut draws = Randomness::new(0, 0).at(0, Stage::Source);
        let blind = fed((0..20_000).map(|_| draws.random_range(0..10)));
        assert_eq!(blind.shift(), Some(0));
    }

    #[test]
    fn labels_in_rows_need_a_shift_of_the_rows() {
        // Runs of ten labels in random order: 8 samples ahead, 2 in 10 labels are still of the same
        // run.
        let mut draws = Randomness::new(0, 0).at(0, Stage::Source);
        let rows: Vec<u32> = (0..4000).map(|_| draws.random_range(0..10)).collect();
        let blind = fed(rows.iter().flat_map(|class| [*class; 10]));
        assert_eq!(blind.shift(), Some(16));
        assert_eq!(fed(std::iter::empty()).shift(), None);
    }

    #[test]
    fn the_mode_is_that_of_the_window() {
        let mut draws = Randomness::new(1, 0).at(0, Stage::Source);
        let labels: Vec<u32> = (0..500).map(|_| draws.random_range(0..4)).collect();
        let mut mode = Mode::default();
        for (at, label) in labels.iter().enumerate() {
            mode.add(*label, 16);
            let window = &labels[(at + 1).saturating_sub(16)..=at];
            let count = |class| window.iter().filter(|label| **label == class).count();
            assert_eq!(count(mode.mode), (0..4).map(count).max().unwrap());
        }
    }

    #[test]
    fn predictions_are_counted_by_hand() {
        // 0 0 1: with k = 1 and shift 0, the second prediction is right and the third wrong; with
        // shift 1 there is one prediction, and it is wrong.
        let blind = fed([0, 0, 1].into_iter());
        assert_eq!((blind.made[0], blind.right[0][0]), (2, 1));
        assert_eq!((blind.made[1], blind.right[1][0]), (1, 0));
        assert_eq!(blind.made[2], 0);
    }
}
