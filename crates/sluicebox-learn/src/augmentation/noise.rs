//! Gaussian noise on images, with a strength drawn per sample.

use crate::augmentation::api::{Augmentation, images_only, normal_like, per_sample};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::Tensor;

/// Options, and the operation itself.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Largest standard deviation; 1 is the whole range of a pixel.
    pub deviation: f64,
}

impl Default for Noise {
    fn default() -> Self {
        Self { deviation: 0.1 }
    }
}

impl sluicebox_core::config::document::Settings for Noise {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "deviation", self.deviation, 0.0..=1.0);
        faults
    }
}

impl Augmentation for Noise {
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        let strength = per_sample(batch, 0.0, self.deviation, draws);
        batch.addcmul(&normal_like(batch, draws), &strength).clamp_(0.0, 1.0)
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        images_only(shape)
    }

    fn bounds_pixels(&self) -> bool {
        true
    }
}
