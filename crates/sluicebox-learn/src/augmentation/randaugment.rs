//! RandAugment (Cubuk et al. 2020) as two public implementations draw it: FixMatch's (`google`; Sohn et
//! al. 2020, appendix D) and USB's (`usb`; Wang et al. 2022). As there, images are 8-bit levels in
//! between, and moved pixels are taken from the nearest one, so an operation returns what PIL returns.

mod amounts;
mod axes;
mod blends;
mod change;
mod geometry;
mod levels;
mod ranges;
mod tables;

pub use change::Change;
pub use ranges::{OPS, Op, Variant};

use crate::augmentation::api::{Augmentation, images_only};
use amounts::Amounts;
use change::whole;
use rand::RngExt;
use ranges::Family;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::Tensor;

/// Options, and the operation itself. Omitted options take the variant's values.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugment {
    /// Implementation that sets the ranges, and the defaults of the other options.
    pub variant: Variant,
    /// Number of operations per image, one after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<u32>,
    /// Probability that an operation is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Value of pixels that move in from outside the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill: Option<f64>,
}

impl sluicebox_core::config::document::Settings for RandAugment {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "operations", self.operations.unwrap_or(1).into(), 1.0..=14.0);
        within(&mut faults, "probability", self.probability.unwrap_or(1.0), 0.0..=1.0);
        within(&mut faults, "fill", self.fill.unwrap_or(0.0), 0.0..=1.0);
        faults
    }
}

impl Augmentation for RandAugment {
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        let (count, _, height, width) = batch.size4().unwrap_or((0, 0, 0, 0));
        let probability = self.probability.unwrap_or(self.variant.probability());
        let fill = (255.0 * self.fill.unwrap_or(self.variant.fill())).round();
        let mut draw = |sample| {
            let done = draws.random_bool(probability);
            let op = if done { OPS[draws.random_range(0..OPS.len())] } else { Op::Identity };
            Change { sample, op, amount: self.variant.draw(op, height, width, draws) }
        };
        let rounds = 0..self.operations.unwrap_or(self.variant.operations());
        let rounds = rounds.map(|_| (0..count).map(&mut draw).collect()).collect();
        changed(&whole((batch * 255.0).round_()), rounds, fill) / 255.0
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        match shape {
            Shape::Image { channels, .. } if channels != 1 && channels != 3 => {
                Some(format!("is for 1 or 3 channels, but a sample has {channels}"))
            }
            _ => images_only(shape),
        }
    }

    fn bounds_pixels(&self) -> bool {
        true
    }
}

/// Applies changes to `levels` `[B, C, H, W]` u8: one to each sample in each round. Pixels from outside the image get
/// the level `fill`.
pub fn changed(levels: &Tensor, mut rounds: Vec<Vec<Change>>, fill: f64) -> Tensor {
    let (count, _, height, width) = levels.size4().unwrap_or((0, 0, 0, 0));
    // Each round sorts the samples by operation, and finds them where the round before has left them.
    let mut places: Vec<i64> = (0..count).collect();
    let mut orders = Vec::with_capacity(rounds.len() * places.len() + places.len());
    for changes in &mut rounds {
        changes.sort_by_key(|change| change.op);
        orders.extend(changes.iter().map(|change| places[change.sample as usize]));
        changes.iter().zip(0i64..).for_each(|(change, place)| places[change.sample as usize] = place);
    }
    orders.extend(places);
    let mut amounts = Amounts::uploaded(&rounds, &orders, [height, width], levels.device());
    let mut levels = levels.shallow_clone();
    for changes in &rounds {
        levels = levels.index_select(0, &amounts.order());
        let mut first = 0;
        for changes in changes.chunk_by(|one, next| one.op.family() == next.op.family()) {
            let count = changes.len() as i64;
            let images = levels.narrow(0, first, count);
            first += count;
            match changes[0].op.family() {
                Family::Nothing => {}
                Family::Geometry => geometry::shift(&images, &mut amounts, fill),
                Family::Tables => tables::map(&images, changes, &mut amounts),
                Family::Blends => blends::blend(images, changes, &mut amounts),
            }
        }
    }
    levels.index_select(0, &amounts.order())
}
