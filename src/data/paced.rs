//! What is known of the stream's pace, from batch to filter.

use crate::device::Compute;
use crate::samples::Shape;
use tch::Tensor;

/// What the labels that came say of the stream's pace, where the job learns it
/// ([`crate::student::pace`]). K paces.
#[derive(Debug)]
pub struct Paced {
    /// Enough labels have come to say who is right.
    pub trusted: bool,
    /// `[C]` f32: class prior of the labelled samples that are replayed.
    pub prior: Tensor,
    /// `[K]` f32: faded sums of the log probabilities that each discriminant gave to labels.
    pub scores: Tensor,
    /// One for each pace.
    pub discriminants: Discriminants,
    /// Samples that got their label in this step, and that nobody was trained on.
    pub fresh: Option<Fresh>,
}

impl Paced {
    /// The same on a device, of no fresh samples.
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

/// Linear discriminants, one for each of K paces.
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
    /// The same, sharing memory.
    pub fn share(&self) -> Self {
        let (weights, bias) = (self.weights.shallow_clone(), self.bias.shallow_clone());
        Self { shape: self.shape, weights, bias }
    }
}

/// Samples that have just got their label.
#[derive(Debug)]
pub struct Fresh {
    /// `[N, …]` f32.
    pub input: Tensor,
    /// `[N]` i64.
    pub classes: Tensor,
}
