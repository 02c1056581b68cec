//! Brightness, contrast and saturation: blends with black, with the mean grey, and with the
//! grey image, by a factor drawn around 1.

use crate::augmentation::api::{Augmentation, images_only, uniform};
use crate::device::upload::{Part, upload_all};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::{Kind, Tensor};

/// Perceived brightness of red, green and blue (ITU-R BT.601).
const PERCEIVED: [f32; 3] = [0.299, 0.587, 0.114];

/// Options, and the operation itself.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
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
        let count = batch.size()[0];
        let saturates = self.saturation > 0.0 && batch.size()[1] == 3;
        let mut around = |most: f64, wanted: bool| -> Vec<f32> {
            let wanted = if wanted { count } else { 0 };
            (0..wanted).map(|_| uniform(1.0 - most, 1.0 + most, draws)).collect()
        };
        let brightness = around(self.brightness, true);
        let contrast = around(self.contrast, self.contrast > 0.0);
        let saturation = around(self.saturation, saturates);
        let parts = [&brightness[..], &contrast, &saturation, &PERCEIVED]
            .map(|factors| Part::new(factors, [factors.len() as i64, 1, 1, 1]));
        let [brightness, contrast, saturation, perceived] = upload_all(parts, batch.device());
        let mut image = batch * brightness;
        if self.contrast > 0.0 {
            let mean = image.mean_dim([1i64, 2, 3].as_slice(), true, Kind::Float); // [B, 1, 1, 1]
            image = mean.lerp_tensor(&image, &contrast);
        }
        if saturates {
            let weighted = &image * perceived.view([1, 3, 1, 1]);
            let grey = weighted.sum_dim_intlist([1i64].as_slice(), true, Kind::Float); // [B, 1, H, W]
            image = grey.lerp_tensor(&image, &saturation);
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
