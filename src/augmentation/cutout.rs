//! One square of each image filled with a constant (DeVries and Taylor 2017). Its centre is
//! drawn over the whole image, so it may be cut at the border, as in FixMatch's own code.

use super::{Augmentation, images_only, within};
use crate::device::upload;
use crate::randomness::Draws;
use crate::samples::Shape;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Options, and the operation itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cutout {
    /// Side of the square, as a part of the image's side (the paper's FixMatch: 16 of 32).
    pub size: f64,
    /// What it is filled with.
    pub fill: f64,
}

impl Default for Cutout {
    fn default() -> Self {
        Self { size: 0.5, fill: 0.5 }
    }
}

impl crate::document::Settings for Cutout {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "size", self.size, 0.0, 1.0);
        within(&mut faults, "fill", self.fill, 0.0, 1.0);
        faults
    }
}

impl Augmentation for Cutout {
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        let (count, _, height, width) = batch.size4().unwrap_or((0, 0, 0, 0));
        let (mut rows, mut columns) = (Vec::new(), Vec::new());
        for _ in 0..count {
            rows.extend(self.covered(height, draws));
            columns.extend(self.covered(width, draws));
        }
        let device = batch.device();
        let rows = upload(&Tensor::from_slice(&rows).view([count, 1, height, 1]), device);
        let columns = upload(&Tensor::from_slice(&columns).view([count, 1, 1, width]), device);
        batch.masked_fill(&rows.logical_and(&columns), self.fill)
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        images_only(shape)
    }
}

impl Cutout {
    /// Which of `side` pixels lie under the square.
    fn covered(&self, side: i64, draws: &mut Draws) -> impl Iterator<Item = bool> {
        let size = (self.size * side as f64).round() as i64;
        let start = draws.random_range(0..side) - size / 2;
        (0..side).map(move |pixel| (start..start + size).contains(&pixel))
    }
}
