//! Random numbers: every random choice is drawn from a generator keyed by (seed, step, stage, worker).
//!
//! No random state needs saving: a run resumed at step 700 draws the same numbers as an uninterrupted one.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A generator that draws the same values on every platform and in every release.
pub type Draws = ChaCha8Rng;

/// The part of a step that draws. The numbers are part of the key: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Stage {
    /// Order and drift of a source.
    Source = 1,
    /// First weights of the model.
    Weights = 2,
    /// Which labelled samples a step trains on.
    Labelled = 3,
    /// Views of the labelled samples.
    LabelledView = 4,
    /// Weak views of the unlabelled samples.
    WeakView = 5,
    /// Strong views of the accepted samples.
    StrongView = 6,
    /// The student's own draws (mixing, the method's loss).
    Student = 7,
    /// Which samples get a simulated late label.
    LateLabel = 8,
    /// A scenario's changes to a sample.
    Scenario = 16,
    /// Which labels a scenario falsifies.
    LabelNoise = 17,
    /// Which labelled sample the replay buffer evicts.
    Memory = 9,
    /// Draws within the network, in training (dropout).
    Network = 20,
    /// The student's draws for further updates of a step.
    Further = 21,
    /// Views of those samples.
    FurtherView = 22,
    /// Which labelled samples further updates of a step train on.
    FurtherLabelled = 23,
}

/// The job's seed on one worker.
#[derive(Debug, Clone, Copy)]
pub struct Randomness {
    seed: u64,
    worker: u64,
}

impl Randomness {
    /// Creates the randomness of `worker` in a job with this `seed`.
    pub fn new(seed: u64, worker: usize) -> Self {
        Self { seed, worker: worker as u64 }
    }

    /// Returns the worker.
    pub fn worker(&self) -> usize {
        self.worker as usize
    }

    /// Returns the same draws for all workers.
    pub fn of_all(&self) -> Self {
        Self { worker: 0, ..*self }
    }

    /// Returns the generator of one stage at one step.
    pub fn at(&self, step: u64, stage: Stage) -> Draws {
        let mut key = [0; 32];
        for (part, value) in [self.seed, self.worker, step, stage as u64].into_iter().enumerate() {
            key[8 * part..8 * part + 8].copy_from_slice(&value.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn every_part_of_the_key_changes_the_draws() {
        let first =
            |seed, worker, step, stage| -> u64 { Randomness::new(seed, worker).at(step, stage).random() };
        let base = first(1, 0, 5, Stage::Source);
        assert_eq!(base, first(1, 0, 5, Stage::Source));
        assert_ne!(base, first(2, 0, 5, Stage::Source));
        assert_ne!(base, first(1, 1, 5, Stage::Source));
        assert_ne!(base, first(1, 0, 6, Stage::Source));
        assert_ne!(base, first(1, 0, 5, Stage::WeakView));
    }
}
