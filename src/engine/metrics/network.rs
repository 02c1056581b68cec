//! What is known of the network alone. Where a job corrects to a class prior or mixes experts in, its answers
//! can be right while the network is not.

use crate::engine::metrics::counts::share;
use serde::{Deserialize, Serialize};

/// Predictions of the network alone for samples whose class is known, made before the student saw them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predictions {
    /// All of them.
    pub known: u64,
    /// The right ones.
    pub right: u64,
}

impl Predictions {
    /// Adds others.
    pub fn add(&mut self, other: Predictions) {
        self.known += other.known;
        self.right += other.right;
    }

    /// Fraction of the right ones.
    pub fn accuracy(&self) -> Option<f64> {
        share(self.right, self.known)
    }
}

/// An evaluation on held-out samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Accuracy of the network alone.
    pub accuracy: f64,
    /// Steps done.
    pub steps: u64,
}

/// The network's own section of a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkAlone {
    /// The last evaluation; none before the first.
    pub evaluated: Option<Evaluated>,
    /// Predictions of the current epoch.
    pub epoch: Predictions,
    /// Predictions of the whole job, without the current epoch.
    pub job: Predictions,
}

impl NetworkAlone {
    /// Accuracy at the last evaluation.
    pub fn accuracy(&self) -> Option<f64> {
        self.evaluated.map(|last| last.accuracy)
    }

    /// Predictions of the whole job.
    pub fn total(&self) -> Predictions {
        let mut total = self.job;
        total.add(self.epoch);
        total
    }
}
