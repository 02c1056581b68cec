//! What an update of the student learns from, and what comes of a step.

use crate::device::upload::upload;
use crate::messages::{LabelledBatch, Weights};
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
