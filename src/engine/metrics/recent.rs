//! Accuracy over the newest samples whose class is known, test-then-train (Gama et al. 2013, "On
//! evaluating stream learning algorithms", §3: a sliding window forgets where a sum does not).

use crate::engine::metrics::counts::share;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Known and right samples of the newest steps: as few steps as hold `window` known samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    steps: VecDeque<(u32, u32)>,
    known: u64,
    right: u64,
}

impl Recent {
    /// Adds a step with `known` samples of known class, of which `right` were predicted correctly.
    pub fn add(&mut self, known: u32, right: u32, window: u64) {
        if known == 0 {
            return;
        }
        self.steps.push_back((known, right));
        self.known += u64::from(known);
        self.right += u64::from(right);
        while let Some((known, right)) = self.steps.front().copied()
            && self.known - u64::from(known) >= window
        {
            self.steps.pop_front();
            self.known -= u64::from(known);
            self.right -= u64::from(right);
        }
    }

    /// Fraction of the known samples that are right.
    pub fn accuracy(&self) -> Option<f64> {
        share(self.right, self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_is_forgotten() {
        let mut recent = Recent::default();
        recent.add(0, 0, 10);
        assert_eq!(recent.accuracy(), None);
        recent.add(10, 0, 10);
        assert_eq!(recent.accuracy(), Some(0.0));
        recent.add(5, 5, 10);
        assert_eq!(recent.accuracy(), Some(5.0 / 15.0));
        recent.add(5, 5, 10);
        assert_eq!(recent.accuracy(), Some(1.0));
        assert_eq!(recent.steps.len(), 2);
    }
}
