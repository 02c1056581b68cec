//! What an update of the student learns from, and what comes of a step.

use crate::device::upload::upload;
use crate::messages::{LabelledBatch, Share, Weights};
use crate::method::api::Loss;
use crate::pseudo_labels::{PseudoLabels, Target};
use sluicebox_core::rng::Draws;
use tch::{Device, Kind, Tensor};

/// What came of a step.
pub struct Trained {
    /// `[5]`, as in [`StepResult::measures`].
    pub measures: Option<Tensor>,
    /// Sum over updates of [`gap`].
    pub gap: Option<Tensor>,
    /// Learning rate of the step.
    pub rate: f64,
    /// Views in the passes for the unlabelled loss.
    pub unlabelled: u64,
    /// Samples in the passes for the labelled loss.
    pub labelled: u64,
    /// The teacher after the step; none where nothing was learned.
    pub teacher: Option<Weights>,
}

/// What one update learns from.
pub struct Material<'a> {
    /// Labelled samples.
    pub labelled: Option<&'a LabelledBatch>,
    /// Views of the selected samples.
    pub strong: &'a [Tensor],
    /// Their positions in the step; none where it has all of them.
    pub index: Option<&'a Tensor>,
    /// Pseudo-labels of the whole step.
    pub pseudo_labels: &'a PseudoLabels,
    /// Whether the method's loss is taken; else that of the labelled samples alone.
    pub judged: bool,
    /// How much of the step this worker has; none: all of it.
    pub share: Option<Share>,
    /// Random draws of this update.
    pub draws: Draws,
}

impl Material<'_> {
    /// Number of samples for the labelled loss.
    pub fn labelled_samples(&self) -> u64 {
        self.labelled.map_or(0, |labelled| labelled.classes.size()[0] as u64)
    }

    /// Number of views for the unlabelled loss.
    pub fn unlabelled_samples(&self) -> u64 {
        self.strong.iter().map(|view| view.size()[0] as u64).sum()
    }

    /// Number of samples for the labelled loss, of all workers.
    pub fn labelled_of_all(&self) -> u64 {
        match (self.share, self.labelled) {
            (Some(share), Some(_)) => share.labelled,
            _ => self.labelled_samples(),
        }
    }

    /// Number of views for the unlabelled loss, of all workers.
    pub fn unlabelled_of_all(&self) -> u64 {
        self.share
            .map_or_else(|| self.unlabelled_samples(), |share| share.selected * self.strong.len() as u64)
    }

    /// The labelled loss is a mean over samples, and the common one is the mean of the workers': where they have unequally many,
    /// this factor makes each sample count alike.
    pub fn labelled_factor(&self) -> f64 {
        match self.share {
            Some(share) if share.labelled > 0 => {
                (self.labelled_samples() * share.workers as u64) as f64 / share.labelled as f64
            }
            _ => 1.0,
        }
    }

    /// Divisor of the sums over selected samples: the worker's fraction of B.
    pub fn divisor(&self) -> f64 {
        let batch = self.pseudo_labels.weight.size()[0] as f64;
        self.share.map_or(batch, |share| batch / share.workers as f64)
    }
}

/// What comes of a forward pass.
pub struct Passed {
    /// The method's loss, with all terms.
    pub loss: Loss,
    /// Number of accepted samples on which the student agrees with the teacher.
    pub agreed: Tensor,
    /// Tensors by which the loss is differentiated.
    pub leaves: Vec<Tensor>,
    /// Cross-entropy of the labelled samples alone, where gradients that oppose it are projected.
    pub known: Option<Tensor>,
}

/// What a forward and a backward pass say.
pub struct Gradient {
    /// `[P]` f32
    pub gradients: Tensor,
    /// The loss and its terms.
    pub loss: Loss,
    /// Number of accepted samples of which the student predicts the pseudo-label's class.
    pub agreed: Tensor,
}

/// Returns the measures of a step without an update.
pub fn no_measures(device: Device, outcome: f32) -> Tensor {
    upload(&Tensor::from_slice(&[0.0, 0.0, 0.0, 0.0, outcome]), device)
}

/// Counts the accepted samples (weight above 0) for which the student's likeliest class is that of
/// the pseudo-label.
pub fn agreed(logits: &Tensor, target: &Target, weight: &Tensor) -> Tensor {
    tch::no_grad(|| {
        let class = match target {
            Target::Hard(classes) => classes.shallow_clone(),
            Target::Soft(rows) => rows.argmax(1, false),
        };
        let same = logits.argmax(1, false).eq_tensor(&class);
        same.logical_and(weight).sum(Kind::Float)
    })
}
