//! Fixed random features: rectified sums of a row's values with random weights (Rahimi and Recht 2008, "Weighted sums of
//! random kitchen sinks"). With them a linear discriminant can bend its border. They cost no training and are the same
//! in every job.

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use sluicebox_core::rng::Draws;

/// Number of random features.
pub const COUNT: usize = 32;
/// Deviation of the sums' offsets.
const OFFSET: f32 = 0.5;

/// The features of rows of F values.
#[derive(Debug, Clone)]
pub struct RandomFeatures {
    /// `[COUNT, F]` weights, of deviation 1/√F.
    pub(super) weights: Vec<f32>,
    pub(super) offsets: Vec<f32>,
}

impl RandomFeatures {
    /// Draws the weights for rows of `width` values. `which` tells several of them apart.
    pub fn new(width: usize, which: u64) -> Self {
        let mut draws = Draws::seed_from_u64(which);
        let mut normal = || -> f32 { StandardNormal.sample(&mut draws) };
        let scale = 1.0 / (width as f32).sqrt();
        let weights = (0..COUNT * width).map(|_| normal() * scale).collect();
        Self { weights, offsets: (0..COUNT).map(|_| normal() * OFFSET).collect() }
    }

    /// Appends the random features of the values in `row` to it.
    pub fn append(&self, row: &mut Vec<f32>) {
        let width = row.len();
        for (weights, offset) in self.weights.chunks_exact(width).zip(&self.offsets) {
            let sum: f32 = weights.iter().zip(&row[..width]).map(|(weight, value)| weight * value).sum();
            row.push((sum + offset).max(0.0));
        }
    }
}
