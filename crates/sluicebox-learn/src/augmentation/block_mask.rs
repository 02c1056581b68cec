//! Blocks of a grid filled with a constant (masked image consistency, Hoyer et al. 2023, §3.2).

use crate::augmentation::api::{Augmentation, images_only};
use crate::generator::seeded;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::{Kind, Tensor};

/// Options, and the operation itself.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlockMask {
    /// Side of a block, as a fraction of the image's shorter side (the paper, for classification: 32 of 224).
    pub block: f64,
    /// Probability that a block is masked.
    pub ratio: f64,
    /// Value of masked pixels.
    pub fill: f64,
}

impl Default for BlockMask {
    fn default() -> Self {
        Self { block: 1.0 / 7.0, ratio: 0.5, fill: 0.5 }
    }
}

impl sluicebox_core::config::document::Settings for BlockMask {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "block", self.block, 0.001..=1.0);
        within(&mut faults, "ratio", self.ratio, 0.0..=1.0);
        within(&mut faults, "fill", self.fill, 0.0..=1.0);
        faults
    }
}

impl Augmentation for BlockMask {
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        let (count, _, height, width) = batch.size4().unwrap_or((0, 0, 0, 0));
        let side = (self.block * height.min(width) as f64).max(1.0);
        let blocks = |pixels: i64| (pixels as f64 / side).round().max(1.0) as i64;
        let grid = [count, 1, blocks(height), blocks(width)];
        let chances = seeded(draws.random(), || Tensor::rand(grid, (Kind::Float, batch.device())));
        let chances = chances.upsample_nearest2d([height, width], None, None); // [B, 1, H, W]
        batch.masked_fill(&chances.lt(self.ratio), self.fill)
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        images_only(shape)
    }
}
