//! A random subset of each vector's features set to zero, which is their mean once standardised.

use crate::augmentation::api::{Augmentation, uniform_like, vectors_only};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::Tensor;

/// Options, and the operation itself.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mask {
    /// Probability that a feature is masked.
    pub chance: f64,
}

impl Default for Mask {
    fn default() -> Self {
        Self { chance: 0.2 }
    }
}

impl sluicebox_core::config::document::Settings for Mask {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "chance", self.chance, 0.0..=1.0);
        faults
    }
}

impl Augmentation for Mask {
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        batch.masked_fill(&uniform_like(batch, draws).lt(self.chance), 0.0)
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        vectors_only(shape)
    }
}
