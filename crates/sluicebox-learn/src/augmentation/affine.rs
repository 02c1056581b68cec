//! Rotation, scaling, shear and shift in one bilinear resampling.

use crate::augmentation::api::{Augmentation, images_only, uniform};
use crate::device::upload;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::Tensor;

/// Options, and the operation itself. Every amount is drawn uniformly from both directions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Affine {
    /// Largest rotation in degrees.
    pub rotate_degrees: f64,
    /// Largest change of size: 0.1 is from 0.9 to 1.1 times.
    pub scale: f64,
    /// Largest shear, as a slope.
    pub shear: f64,
    /// Largest shift, as a fraction of the image's side.
    pub translate: f64,
}

impl Default for Affine {
    fn default() -> Self {
        Self { rotate_degrees: 10.0, scale: 0.1, shear: 0.0, translate: 0.1 }
    }
}

impl sluicebox_core::config::document::Settings for Affine {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "rotate_degrees", self.rotate_degrees, 0.0..=180.0);
        within(&mut faults, "scale", self.scale, 0.0..=0.9);
        within(&mut faults, "shear", self.shear, 0.0..=2.0);
        within(&mut faults, "translate", self.translate, 0.0..=1.0);
        faults
    }
}

impl Augmentation for Affine {
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        let count = batch.size()[0];
        let mut matrices = Vec::with_capacity(6 * count as usize);
        let mut around = |most: f64| uniform(-most, most, draws);
        for _ in 0..count {
            let (sin, cos) = around(self.rotate_degrees).to_radians().sin_cos();
            let size = 1.0 + around(self.scale);
            let (shear_x, shear_y) = (around(self.shear), around(self.shear));
            // Coordinates run from -1 to 1: a shift by the whole side is 2.
            let (x, y) = (2.0 * around(self.translate), 2.0 * around(self.translate));
            matrices.extend([
                (cos - sin * shear_y) / size,
                (cos * shear_x - sin) / size,
                x,
                (sin + cos * shear_y) / size,
                (sin * shear_x + cos) / size,
                y,
            ]);
        }
        let matrices = upload(&Tensor::from_slice(&matrices).view([count, 2, 3]), batch.device());
        let grid = Tensor::affine_grid_generator(&matrices, batch.size(), false); // [B, H, W, 2]
        batch.grid_sampler(&grid, BILINEAR, ZEROS, false)
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        images_only(shape)
    }
}

/// libtorch's codes for the interpolation and for padding outside the image.
const BILINEAR: i64 = 0;
const ZEROS: i64 = 0;
