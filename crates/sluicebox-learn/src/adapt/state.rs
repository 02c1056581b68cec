//! Recency weighting and discriminants, on their way from batch to filter.

use crate::device::Compute;
use sluicebox_core::sample::Shape;
use tch::Tensor;

/// Recency weighting learned from late labels ([`crate::adapt::forgetting`]). K forgetting rates.
#[derive(Debug)]
pub struct AdaptState {
    /// Whether enough labels have been predicted to compare the rates.
    pub trusted: bool,
    /// `[C]` f32: class prior of the replayed labelled samples.
    pub prior: Tensor,
    /// `[K]` f32: exponentially decayed sum of each discriminant's log probabilities of the labels.
    pub scores: Tensor,
    /// One discriminant per forgetting rate.
    pub discriminants: Discriminants,
    /// Samples that got their label in this step and on which nothing has been trained yet.
    pub fresh: Option<Fresh>,
}

impl AdaptState {
    /// Copies everything to a device, without the fresh samples.
    pub fn uploaded(self, compute: Compute) -> Self {
        let up = |tensor: &Tensor| compute.upload(tensor);
        let Discriminants { shape, weights, bias } = self.discriminants;
        Self {
            trusted: self.trusted,
            prior: up(&self.prior),
            scores: up(&self.scores),
            discriminants: Discriminants { shape, weights: up(&weights), bias: up(&bias) },
            fresh: None,
        }
    }
}

/// Linear discriminants, one for each of K forgetting rates.
#[derive(Debug)]
pub struct Discriminants {
    /// Shape of a sample.
    pub shape: Shape,
    /// `[K, F, C]` f32.
    pub weights: Tensor,
    /// `[K, C]` f32.
    pub bias: Tensor,
}

impl Discriminants {
    /// Returns the same discriminants, sharing memory.
    pub fn share(&self) -> Self {
        let (weights, bias) = (self.weights.shallow_clone(), self.bias.shallow_clone());
        Self { shape: self.shape, weights, bias }
    }
}

/// Samples that have just got their label.
#[derive(Debug)]
pub struct Fresh {
    /// `[N, …]` f32 values.
    pub input: Tensor,
    /// `[N]` i64 class indices.
    pub classes: Tensor,
}
