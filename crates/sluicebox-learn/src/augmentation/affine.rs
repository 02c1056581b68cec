//! Rotation, scaling, shear and shift in one bilinear resampling.

use crate::augmentation::api::{Augmentation, images_only, uniform};
use crate::device::upload::{Part, upload, upload_all};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use std::cell::RefCell;
use tch::{Device, Kind, Tensor};

/// Options. Every amount is drawn uniformly from both directions.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
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

/// The operation.
struct Resampling {
    options: Affine,
    places: Places,
}

/// Makes the operation from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Augmentation>> {
    Ok(Box::new(Resampling { options: settings(spec)?, places: Places::default() }))
}

impl Augmentation for Resampling {
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        let count = batch.size()[0];
        let mut matrices = Vec::with_capacity(6 * count as usize);
        let mut around = |most: f64| uniform(-most, most, draws);
        for _ in 0..count {
            let (sin, cos) = around(self.options.rotate_degrees).to_radians().sin_cos();
            let size = 1.0 + around(self.options.scale);
            let (shear_x, shear_y) = (around(self.options.shear), around(self.options.shear));
            // Coordinates run from -1 to 1: a shift by the whole side is 2.
            let (x, y) = (2.0 * around(self.options.translate), 2.0 * around(self.options.translate));
            matrices.extend([
                (cos - sin * shear_y) / size,
                (cos * shear_x - sin) / size,
                x,
                (sin + cos * shear_y) / size,
                (sin * shear_x + cos) / size,
                y,
            ]);
        }
        let (_, _, height, width) = batch.size4().unwrap_or((0, 0, 0, 0));
        let [matrices] = upload_all([Part::new(&matrices, [count, 2, 3])], batch.device());
        let places = self.places.of(height, width, batch.device()).expand([count, -1, 3], false);
        let grid = places.bmm(&matrices.transpose(1, 2)).view([count, height, width, 2]);
        batch.grid_sampler(&grid, BILINEAR, ZEROS, false)
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        images_only(shape)
    }
}

/// The places of an image's pixels, as they were last asked for: they are the same in each step.
#[derive(Debug, Default)]
struct Places(RefCell<Option<([i64; 2], Tensor)>>);

impl Places {
    /// Returns `[1, H·W, 3]` f32: x and y from -1 to 1 as the corners of the image, and 1.
    fn of(&self, height: i64, width: i64, device: Device) -> Tensor {
        let mut held = self.0.borrow_mut();
        if let Some((_, places)) = held.as_ref().filter(|(sides, _)| *sides == [height, width]) {
            return places.shallow_clone();
        }
        let options = (Kind::Float, Device::Cpu);
        let along = |side: i64| match side {
            1 => Tensor::zeros([1], options),
            _ => Tensor::linspace(-1.0, 1.0, side, options) * (side - 1) / side,
        };
        let x = along(width).view([1, width]).expand([height, width], false);
        let y = along(height).view([height, 1]).expand([height, width], false);
        let places = Tensor::stack(&[&x, &y, &x.ones_like()], 2).view([1, height * width, 3]);
        let places = upload(&places, device);
        *held = Some(([height, width], places.shallow_clone()));
        places
    }
}

/// libtorch's codes for the interpolation and for padding outside the image.
const BILINEAR: i64 = 0;
const ZEROS: i64 = 0;
