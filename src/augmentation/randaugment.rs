//! RandAugment (Cubuk et al. 2020) as two public codes draw it: FixMatch's (`google`; Sohn et al.
//! 2020, appendix D) and USB's (`usb`; Wang et al. 2022). As there, images are 8-bit levels on the
//! way, and nearest pixels are taken where they move, so an operation gives what PIL gives.

mod blends;
mod geometry;
mod ranges;
mod tables;

pub use ranges::{OPS, Op, Variant};

use super::{Augmentation, images_only, within};
use crate::device::upload;
use crate::randomness::Draws;
use crate::samples::Shape;
use rand::RngExt;
use ranges::Family;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Options, and the operation itself. What is left out is as the variant has it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugment {
    /// Whose ranges, number of operations, probability and fill.
    pub variant: Variant,
    /// Operations on each image, one after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<u32>,
    /// Chance of each operation to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Value of the pixels that move in from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill: Option<f64>,
}

impl crate::document::Settings for RandAugment {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "operations", self.operations.unwrap_or(1).into(), 1.0, 14.0);
        within(&mut faults, "probability", self.probability.unwrap_or(1.0), 0.0, 1.0);
        within(&mut faults, "fill", self.fill.unwrap_or(0.0), 0.0, 1.0);
        faults
    }
}

impl Augmentation for RandAugment {
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        let (count, _, height, width) = batch.size4().unwrap_or((0, 0, 0, 0));
        let probability = self.probability.unwrap_or(self.variant.probability());
        let fill = (255.0 * self.fill.unwrap_or(self.variant.fill())).round();
        let mut levels = (batch * 255.0).round_().to_kind(Kind::Uint8);
        for _ in 0..self.operations.unwrap_or(self.variant.operations()) {
            let mut changes = Vec::with_capacity(count as usize);
            for sample in 0..count {
                if draws.random_bool(probability) {
                    let op = OPS[draws.random_range(0..OPS.len())];
                    let amount = self.variant.draw(op, height, width, draws);
                    changes.push(Change { sample, op, amount });
                }
            }
            change(&mut levels, changes, fill);
        }
        levels.to_kind(Kind::Float) / 255.0
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        match shape {
            Shape::Image { channels, .. } if channels != 1 && channels != 3 => {
                Some(format!("is for 1 or 3 channels, but a sample has {channels}"))
            }
            _ => images_only(shape),
        }
    }
}

/// What is done to one sample.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// Its place in the batch.
    pub sample: i64,
    /// The operation.
    pub op: Op,
    /// How much, in the operation's own unit (see [`Op`]).
    pub amount: f64,
}

/// Changes samples of `levels` `[B, C, H, W]` u8 in place, one operation each at most. Pixels
/// from outside get the level `fill`.
pub fn change(levels: &mut Tensor, mut changes: Vec<Change>, fill: f64) {
    changes.sort_by_key(|change| change.op);
    for changes in changes.chunk_by(|one, next| one.op.family() == next.op.family()) {
        let samples: Vec<i64> = changes.iter().map(|change| change.sample).collect();
        let samples = upload(&Tensor::from_slice(&samples), levels.device());
        let images = levels.index_select(0, &samples);
        let changed = match changes[0].op.family() {
            Family::Nothing => continue,
            Family::Geometry => geometry::moved(&images, changes, fill),
            Family::Tables => tables::mapped(&images, changes),
            Family::Blends => blends::blended(&images, changes),
        };
        let _ = levels.index_copy_(0, &samples, &changed);
    }
}

/// How many of `changes` do `op`.
fn count(changes: &[Change], op: Op) -> i64 {
    changes.iter().filter(|change| change.op == op).count() as i64
}
