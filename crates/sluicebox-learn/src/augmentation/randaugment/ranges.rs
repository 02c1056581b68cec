//! The operations, and how each variant draws their amounts.

use crate::augmentation::api::uniform;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sluicebox_core::rng::Draws;

/// An operation, with the unit of its amount. Operations computed together are adjacent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Nothing; no amount.
    Identity,
    /// Degrees, anticlockwise.
    Rotate,
    /// Pixels per row, about the upper left corner.
    ShearX,
    /// Pixels per column, about the upper left corner.
    ShearY,
    /// Pixels to the left.
    TranslateX,
    /// Pixels up.
    TranslateY,
    /// Stretches each channel's levels to the whole range; no amount.
    Autocontrast,
    /// Equalises the histogram of each channel's levels; no amount.
    Equalize,
    /// Number of bits kept.
    Posterize,
    /// Level at and above which levels are inverted.
    Solarize,
    /// Factor on the difference from black.
    Brightness,
    /// Factor on the difference from the mean grey.
    Contrast,
    /// Factor on the difference from the grey image; no effect on grey images.
    Color,
    /// Factor on the difference from the smoothed image.
    Sharpness,
}

/// Every operation.
pub const OPS: [Op; 14] = [
    Op::Identity,
    Op::Rotate,
    Op::ShearX,
    Op::ShearY,
    Op::TranslateX,
    Op::TranslateY,
    Op::Autocontrast,
    Op::Equalize,
    Op::Posterize,
    Op::Solarize,
    Op::Brightness,
    Op::Contrast,
    Op::Color,
    Op::Sharpness,
];

/// Operations that are computed together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Family {
    Nothing,
    Geometry,
    Tables,
    Blends,
}

impl Op {
    pub(super) fn family(self) -> Family {
        match self {
            Op::Identity => Family::Nothing,
            Op::Rotate | Op::ShearX | Op::ShearY | Op::TranslateX | Op::TranslateY => Family::Geometry,
            Op::Autocontrast | Op::Equalize | Op::Posterize | Op::Solarize => Family::Tables,
            Op::Brightness | Op::Contrast | Op::Color | Op::Sharpness => Family::Blends,
        }
    }
}

/// The implementation to follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// FixMatch's own: 2 operations, each applied with probability 0.5, at a level of 1 to 9 of 10;
    /// amounts in degrees, pixels, bits and thresholds are truncated to whole numbers.
    #[default]
    Google,
    /// USB's: 3 operations, always applied, with uniform amounts.
    Usb,
}

impl Variant {
    /// Returns the number of operations per image.
    pub fn operations(self) -> u32 {
        match self {
            Variant::Google => 2,
            Variant::Usb => 3,
        }
    }

    /// Returns the probability that an operation is applied.
    pub fn probability(self) -> f64 {
        match self {
            Variant::Google => 0.5,
            Variant::Usb => 1.0,
        }
    }

    /// Returns the value of pixels that move in from outside the image.
    pub fn fill(self) -> f64 {
        match self {
            Variant::Google => 0.5,
            Variant::Usb => 0.0,
        }
    }

    /// Draws an amount for `op` on an image of `height` by `width` pixels, in the operation's unit.
    pub fn draw(self, op: Op, height: i64, width: i64, draws: &mut Draws) -> f64 {
        let side = if op == Op::TranslateY { height } else { width } as f64;
        match self {
            Variant::Google => {
                let level = f64::from(draws.random_range(1..=9u8));
                let sign = if draws.random_bool(0.5) { 1.0 } else { -1.0 };
                google(op, level, sign, side)
            }
            Variant::Usb => {
                let mut from = |low, high| f64::from(uniform(low, high, draws));
                match op {
                    Op::Identity | Op::Autocontrast | Op::Equalize => 0.0,
                    Op::Rotate => from(-30.0, 30.0),
                    Op::ShearX | Op::ShearY => from(-0.3, 0.3),
                    Op::TranslateX | Op::TranslateY => from(-0.3, 0.3) * side,
                    Op::Posterize => from(4.0, 8.0).floor(),
                    Op::Solarize => from(0.0, 256.0),
                    Op::Brightness | Op::Contrast | Op::Color | Op::Sharpness => from(0.05, 0.95),
                }
            }
        }
    }
}

/// Returns the amount at `level` tenths of the largest one. Shifts are defined for images of 32 pixels,
/// 10 pixels at level 10, and scale with the side.
fn google(op: Op, level: f64, sign: f64, side: f64) -> f64 {
    match op {
        Op::Identity | Op::Autocontrast | Op::Equalize => 0.0,
        Op::Rotate => sign * 3.0 * level,
        Op::ShearX | Op::ShearY => sign * 0.03 * level,
        Op::TranslateX | Op::TranslateY => sign * (level * side / 32.0).floor(),
        Op::Posterize => 4.0 - (0.4 * level).floor(),
        Op::Solarize => 256.0 - (25.6 * level).floor(),
        Op::Brightness | Op::Contrast | Op::Color | Op::Sharpness => 0.1 + 0.18 * level,
    }
}
