//! Blocks of a grid filled with a constant (masked image consistency, Hoyer et al. 2023, §3.2).

use crate::augmentation::api::{Augmentation, images_only};
use crate::generator::seeded;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::{Kind, Tensor};

/// Side of a block of the paper's published runs for classification, as a fraction of the image's: 64 of 224.
pub const BLOCK: f64 = 2.0 / 7.0;
/// Their probability that a block is masked.
pub const RATIO: f64 = 0.7;

/// Options, and the operation itself. Defaults are those of the paper's published runs for classification.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlockMask {
    /// Side of a block, as a fraction of the image's shorter side (the paper: 64 of 224).
    pub block: f64,
    /// Probability that a block is masked (the paper: 0.7).
    pub ratio: f64,
    /// Value of masked pixels. The paper's is the mean of all pixels.
    pub fill: f64,
}

impl Default for BlockMask {
    fn default() -> Self {
        Self { block: BLOCK, ratio: RATIO, fill: 0.5 }
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
        batch.masked_fill(&Blocks { block: self.block, ratio: self.ratio }.chosen(batch, draws), self.fill)
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        images_only(shape)
    }
}

/// Blocks of images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blocks {
    /// Side of a block, as a fraction of the image's shorter side.
    pub block: f64,
    /// Probability that a block is masked.
    pub ratio: f64,
}

impl Blocks {
    /// Returns a copy of `batch` `[B, C, H, W]` f32 whose masked blocks have the values `fill` `[1, C, 1, 1]`.
    pub fn mask(&self, batch: &Tensor, fill: &Tensor, draws: &mut Draws) -> Tensor {
        fill.where_self(&self.chosen(batch, draws), batch)
    }

    /// Draws the masked pixels of each image: `[B, 1, H, W]` bool.
    fn chosen(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        let (count, _, height, width) = batch.size4().unwrap_or((0, 0, 0, 0));
        let side = (self.block * height.min(width) as f64).max(1.0);
        let blocks = |pixels: i64| (pixels as f64 / side).round().max(1.0) as i64;
        let grid = [count, 1, blocks(height), blocks(width)];
        let chances = seeded(draws.random(), || Tensor::rand(grid, (Kind::Float, batch.device())));
        chances.upsample_nearest2d([height, width], None, None).lt(self.ratio)
    }
}

/// Returns the mean of each channel of a batch `[B, C, H, W]`: `[1, C, 1, 1]`.
pub fn channel_means(batch: &Tensor) -> Tensor {
    batch.mean_dim([0i64, 2, 3].as_slice(), true, Kind::Float)
}
