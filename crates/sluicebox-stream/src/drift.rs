//! Drift of samples: images rotate, values get noisy, features shift and scale, class priors
//! change.

use rand::RngExt;
use serde::{Deserialize, Serialize};
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::{Dtype, Format, Shape};
use std::f32::consts::TAU;

/// Change of samples: to the full extent and back within a period, or growing from phase to phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drift {
    /// Period, in samples; ignored if phases are domains.
    pub period_samples: f64,
    /// Largest rotation of an image, in degrees.
    pub rotation_degrees: f64,
    /// Largest standard deviation of the noise, in units of the model's input: 1 is a pixel's
    /// range.
    pub noise: f64,
    /// Drift of class priors: a class is at most e^(2·prior) times as frequent as another.
    pub prior: f64,
    /// Largest amount that is added to every feature of a vector.
    pub shift: f64,
    /// Largest fraction by which every feature of a vector grows.
    pub scale: f64,
}

impl Default for Drift {
    fn default() -> Self {
        let nothing = Self {
            period_samples: 0.0,
            rotation_degrees: 0.0,
            noise: 0.0,
            prior: 0.0,
            shift: 0.0,
            scale: 0.0,
        };
        Self { period_samples: 100_000.0, ..nothing }
    }
}

/// Progress of a drift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Fraction of the period, from 0 to 1; drives the class priors.
    pub turn: f32,
    /// Fraction of the largest change that samples show, from -1 to 1.
    pub swing: f32,
}

impl Moment {
    /// Returns the moment within a period: to one side, to the other, and back.
    pub fn within(position: u64, period_samples: f64) -> Self {
        let turn = ((position as f64 / f64::from(period_samples as f32)) % 1.0) as f32;
        Self { turn, swing: (TAU * turn).sin() }
    }

    /// Returns the moment of a phase: no change in the first, the full change in the last.
    pub fn of_phase(phase: usize, phases: usize) -> Self {
        Self { turn: phase as f32 / phases as f32, swing: phase as f32 / (phases.max(2) - 1) as f32 }
    }
}

impl Drift {
    /// Returns the values that are out of range, as messages.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.period_samples.is_nan() || self.period_samples < 2.0 {
            faults.push("period_samples must be 2 or more".to_string());
        }
        let from_zero = [("noise", self.noise, 1e6), ("prior", self.prior, 10.0)];
        for (key, value, most) in from_zero {
            if !(0.0..=most).contains(&value) {
                faults.push(format!("{key} must be from 0 to {most}"));
            }
        }
        for (key, value) in
            [("rotation_degrees", self.rotation_degrees), ("shift", self.shift), ("scale", self.scale)]
        {
            if !(value as f32).is_finite() {
                faults.push(format!("{key} must be from -1e38 to 1e38"));
            }
        }
        faults
    }

    /// Returns the frequency of `class` of `classes` at `moment`, up to a common factor.
    pub fn frequency(&self, moment: Moment, class: usize, classes: usize) -> f32 {
        let phase = class as f32 / classes as f32;
        (self.prior as f32 * (TAU * (moment.turn + phase)).sin()).exp()
    }

    /// Changes the stored values of a sample to those at `moment`.
    pub fn change(&self, moment: Moment, format: &Format, values: &mut Vec<f32>, draws: &mut Draws) {
        let brightest = 1.0 / format.scale;
        match format.shape {
            Shape::Image { height, width, .. } => {
                let degrees = moment.swing * self.rotation_degrees as f32;
                let channels = values.chunks_exact(height * width);
                *values = channels.flat_map(|image| rotate(image, height, width, degrees)).collect();
            }
            Shape::Vector { .. } => {
                let grown = 1.0 + moment.swing * self.scale as f32;
                let moved = moment.swing * self.shift as f32 * brightest;
                values.iter_mut().for_each(|value| *value = *value * grown + moved);
            }
        }
        let noise = self.noise as f32 * moment.swing.abs() * brightest;
        if noise > 0.0 {
            values.iter_mut().for_each(|value| *value += noise * normal(draws));
        }
        if format.dtype == Dtype::U8 {
            values.iter_mut().for_each(|value| *value = value.clamp(0.0, brightest).round());
        }
    }
}

/// Rotates an image about its centre, bilinear, black outside.
pub fn rotate(image: &[f32], height: usize, width: usize, degrees: f32) -> Vec<f32> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (middle, centre) = ((height as f32 - 1.0) / 2.0, (width as f32 - 1.0) / 2.0);
    let at = |row: f32, column: f32| {
        let within = (0.0..height as f32).contains(&row) && (0.0..width as f32).contains(&column);
        if within { image[row as usize * width + column as usize] } else { 0.0 }
    };
    let pixel = |pixel: usize| {
        let (y, x) = ((pixel / width) as f32 - middle, (pixel % width) as f32 - centre);
        let (row, column) = (middle + cos * y - sin * x, centre + sin * y + cos * x);
        let (top, left) = (row.floor(), column.floor());
        let (down, right) = (row - top, column - left);
        at(top, left) * (1.0 - down) * (1.0 - right)
            + at(top, left + 1.0) * (1.0 - down) * right
            + at(top + 1.0, left) * down * (1.0 - right)
            + at(top + 1.0, left + 1.0) * down * right
    };
    (0..height * width).map(pixel).collect()
}

/// Draws a standard normal number (Box and Muller, 1958).
fn normal(draws: &mut Draws) -> f32 {
    let radius = (-2.0 * (1.0 - draws.random::<f32>()).ln()).sqrt();
    radius * (TAU * draws.random::<f32>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::rng::{Randomness, Stage};

    fn format(shape: Shape, dtype: Dtype, scale: f32) -> Format {
        Format { shape, dtype, scale, classes: vec!["a".into(), "b".into()] }
    }

    #[test]
    fn a_quarter_turn_moves_each_corner_to_the_next() {
        let image: Vec<f32> = (0..6).map(|value| value as f32).collect();
        assert_eq!(rotate(&image, 2, 3, 0.0), image);
        let square = [1.0, 2.0, 3.0, 4.0];
        let turned: Vec<i64> =
            rotate(&square, 2, 2, 90.0).iter().map(|v| (v * 1000.0).round() as i64).collect();
        assert!(turned == [2000, 4000, 1000, 3000] || turned == [3000, 1000, 4000, 2000], "{turned:?}");
    }

    #[test]
    fn features_are_scaled_then_moved_and_pixels_stay_pixels() {
        let mut draws = Randomness::new(0, 0).at(0, Stage::Source);
        let drift = Drift { shift: 2.0, scale: 0.5, ..Drift::default() };
        let mut values = vec![1.0, -4.0];
        let moment = Moment { turn: 0.0, swing: -1.0 };
        drift.change(
            moment,
            &format(Shape::Vector { features: 2 }, Dtype::F32, 1.0),
            &mut values,
            &mut draws,
        );
        assert_eq!(values, [1.0 * 0.5 - 2.0, -4.0 * 0.5 - 2.0]);
        let shape = Shape::Image { channels: 1, height: 4, width: 4 };
        let mut values = vec![128.0; 16];
        let noisy = Drift { noise: 5.0, ..Drift::default() };
        noisy.change(moment, &format(shape, Dtype::U8, 1.0 / 255.0), &mut values, &mut draws);
        assert!(values.iter().all(|value| (0.0..=255.0).contains(value) && value.fract() == 0.0));
        assert!(values.iter().any(|value| *value != 128.0));
    }

    #[test]
    fn phases_go_from_nothing_to_everything_and_periods_come_back() {
        let swings: Vec<f32> = (0..3).map(|phase| Moment::of_phase(phase, 3).swing).collect();
        assert_eq!(swings, [0.0, 0.5, 1.0]);
        assert_eq!(Moment::within(100, 100.0), Moment::within(0, 100.0));
        assert!((Moment::within(25, 100.0).swing - 1.0).abs() < 1e-6);
    }
}
