//! Gaussian noise on the features of vectors.

use crate::augmentation::api::{Augmentation, normal_like, vectors_only};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::Tensor;

/// Options, and the operation itself.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Jitter {
    /// Standard deviation of the noise; features are standardised, so 1 is a feature's own.
    pub deviation: f64,
}

impl Default for Jitter {
    fn default() -> Self {
        Self { deviation: 0.1 }
    }
}

impl sluicebox_core::config::document::Settings for Jitter {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "deviation", self.deviation, 0.0..=100.0);
        faults
    }
}

impl Augmentation for Jitter {
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        batch + normal_like(batch, draws) * self.deviation
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        vectors_only(shape)
    }
}
