//! Mirroring and shifting, the usual weak view: FixMatch pads by reflection and crops (Sohn et al.
//! 2020, §2.3), which is a shift by whole pixels.

use crate::augmentation::api::{Augmentation, images_only};
use crate::device::upload::{Part, upload_all};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::Tensor;

/// Options, and the operation itself.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FlipCrop {
    /// Probability of mirroring.
    pub flip: f64,
    /// Largest shift, as a fraction of the side (the paper: 4 of 32 pixels).
    pub shift: f64,
}

impl Default for FlipCrop {
    fn default() -> Self {
        Self { flip: 0.5, shift: 0.125 }
    }
}

impl sluicebox_core::config::document::Settings for FlipCrop {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "flip", self.flip, 0.0..=1.0);
        within(&mut faults, "shift", self.shift, 0.0..=0.5);
        faults
    }
}

impl Augmentation for FlipCrop {
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        let (count, channels, height, width) = batch.size4().unwrap_or((0, 0, 0, 0));
        let (mut rows, mut columns) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let mirrored = draws.random_bool(self.flip);
            rows.extend(self.shifted(height, false, draws).map(|row| row * width));
            columns.extend(self.shifted(width, mirrored, draws));
        }
        let parts = [Part::new(&rows, [count, height, 1]), Part::new(&columns, [count, 1, width])];
        let [rows, columns] = upload_all(parts, batch.device());
        let index = (rows + columns).view([count, 1, height * width]); // [B, 1, HW]
        let index = index.expand([count, channels, height * width], false);
        batch.reshape([count, channels, height * width]).gather(2, &index, false).view_as(batch)
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        images_only(shape)
    }
}

impl FlipCrop {
    /// Returns the source of each of `side` pixels of a view, reflected at the borders.
    fn shifted(&self, side: i64, mirrored: bool, draws: &mut Draws) -> impl Iterator<Item = i64> {
        let most = (self.shift * side as f64).round() as i64;
        let shift = draws.random_range(-most..=most);
        (0..side).map(move |pixel| {
            let from = if mirrored { side - 1 - pixel } else { pixel } + shift;
            let from = if from < 0 { -from } else { from };
            if from >= side { 2 * (side - 1) - from } else { from }.clamp(0, side - 1)
        })
    }
}
