//! Brightness, contrast and saturation: blends with black, with the mean grey, and with the
//! grey image, by a factor drawn around 1.

use crate::augmentation::api::{Augmentation, images_only, per_sample};
use crate::device::upload;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::{Kind, Tensor};

/// Options, and the operation itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Colour {
    /// Largest change of brightness: 0.4 is from 0.6 to 1.4 times.
    pub brightness: f64,
    /// Largest change of contrast.
    pub contrast: f64,
    /// Largest change of saturation; without effect on grey images.
    pub saturation: f64,
}

impl Default for Colour {
    fn default() -> Self {
        Self { brightness: 0.4, contrast: 0.4, saturation: 0.4 }
    }
}

impl sluicebox_core::config::document::Settings for Colour {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "brightness", self.brightness, 0.0..=1.0);
        within(&mut faults, "contrast", self.contrast, 0.0..=1.0);
        within(&mut faults, "saturation", self.saturation, 0.0..=1.0);
        faults
    }
}

impl Augmentation for Colour {
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        let mut around = |most: f64| per_sample(batch, 1.0 - most, 1.0 + most, draws);
        let mut image = batch * around(self.brightness);
        if self.contrast > 0.0 {
            let mean = image.mean_dim([1i64, 2, 3].as_slice(), true, Kind::Float); // [B, 1, 1, 1]
            image = mean.lerp_tensor(&image, &around(self.contrast));
        }
        if self.saturation > 0.0 && batch.size()[1] == 3 {
            // ITU-R BT.601: perceived brightness of red, green and blue.
            let weights = Tensor::from_slice(&[0.299f32, 0.587, 0.114]).view([1, 3, 1, 1]);
            let weighted = &image * upload(&weights, batch.device());
            let grey = weighted.sum_dim_intlist([1i64].as_slice(), true, Kind::Float); // [B, 1, H, W]
            image = grey.lerp_tensor(&image, &around(self.saturation));
        }
        image.clamp_(0.0, 1.0)
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        images_only(shape)
    }

    fn bounds_pixels(&self) -> bool {
        true
    }
}
