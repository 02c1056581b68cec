//! What the experts say of a step, on its way from batch to filter.

use crate::adapt::experts::Snapshot;
use crate::device::Compute;
use std::sync::Arc;
use tch::Tensor;

/// Answers of the experts for a step, and what labels say of them.
#[derive(Debug)]
pub struct AdaptState {
    /// The step.
    pub step: u64,
    /// Whether enough labels have been foretold to compare the network and the experts.
    pub trusted: bool,
    /// `[C]` f32: class prior of the labels.
    pub prior: Tensor,
    /// `[B, C]` f32: log probabilities that the experts give the step's samples; none where they have no say.
    pub answers: Option<Tensor>,
    /// What the experts answer with outside the dataflow.
    pub experts: Option<Arc<Snapshot>>,
    /// Samples that got their label in this step and on which nothing had been trained before it.
    pub fresh: Option<Fresh>,
}

/// Samples that have just got their label.
#[derive(Debug)]
pub struct Fresh {
    /// `[N, …]` f32 values.
    pub input: Tensor,
    /// `[N]` i64 class indices.
    pub classes: Tensor,
    /// `[N, C]` f32: log probabilities that the experts gave them before they learned the labels.
    pub answers: Tensor,
    /// `[N]` i64: steps in which the samples streamed by.
    pub steps: Tensor,
}

impl Fresh {
    /// Copies all of it to a device.
    pub fn uploaded(self, compute: Compute) -> Self {
        let up = |tensor: &Tensor| compute.upload(tensor);
        Self {
            input: up(&self.input),
            classes: up(&self.classes),
            answers: up(&self.answers),
            steps: up(&self.steps),
        }
    }
}
