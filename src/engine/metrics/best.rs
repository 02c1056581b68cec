//! The best evaluation so far, and the end of a job that no longer gets better (`stop.patience`).

use serde::{Deserialize, Serialize};

/// The best evaluation so far: the reporter's section `best`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Accuracy on held-out samples.
    pub accuracy: f64,
    /// Epochs after which it was.
    pub epoch: u64,
    /// Epochs after the newest evaluation, and steps.
    newest: (u64, u64),
}

impl Best {
    /// Takes the evaluation after `epochs` and `steps` into `best`. Returns whether it is better than all before.
    pub fn take(best: &mut Option<Best>, accuracy: f64, epochs: u64, steps: u64) -> bool {
        let newest = (epochs, steps);
        let is_better = best.is_none_or(|best| accuracy > best.accuracy);
        *best = match *best {
            Some(best) if !is_better => Some(Best { newest, ..best }),
            _ => Some(Best { accuracy, epoch: epochs, newest }),
        };
        is_better
    }

    /// Returns the number of steps with which the job ends, if for `patience` epochs none was better. Up to `window`
    /// steps are cut before a step is evaluated: so many more follow it, always as many, so that the job ends with
    /// the same weights again.
    pub fn end(&self, patience: u64, window: u64) -> Option<u64> {
        let (epochs, steps) = self.newest;
        let is_over = patience > 0 && epochs - self.epoch >= patience;
        is_over.then(|| steps + window - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_ends_when_its_best_is_as_many_epochs_ago() {
        let mut best = None;
        let mut is_better = |accuracy, epochs| Best::take(&mut best, accuracy, epochs, 10 * epochs);
        assert!(is_better(0.5, 1) && is_better(0.7, 2));
        assert!(!is_better(0.7, 3) && !is_better(0.6, 4));
        let found = best.unwrap();
        assert_eq!((found.accuracy, found.epoch), (0.7, 2));
        assert_eq!((found.end(2, 1), found.end(2, 3)), (Some(40), Some(42)));
        assert_eq!((found.end(3, 1), found.end(0, 1)), (None, None));
    }
}
