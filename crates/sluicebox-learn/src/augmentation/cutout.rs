//! One square of each image filled with a constant (DeVries and Taylor 2017). Its centre is drawn over
//! the whole image, so the border can cut it off, as in FixMatch's own code. USB's form: `varies =
//! true`, `fill = [0.490, 0.482, 0.447]`.

use crate::augmentation::api::{Augmentation, images_only};
use crate::device::upload::{Part, upload, upload_all};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::within;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::Tensor;

/// Options, and the operation itself.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cutout {
    /// Side of the square, as a fraction of the image's side (the paper's FixMatch: 16 of 32).
    pub size: f64,
    /// Whether the side is drawn for each image, between 0 and `size`.
    pub varies: bool,
    /// Value of the pixels in the square.
    pub fill: Fill,
}

/// A value for all channels or one for each.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Fill {
    /// One value for all channels.
    All(f64),
    /// One value for each channel.
    Each(Vec<f64>),
}

impl Fill {
    fn values(&self) -> &[f64] {
        match self {
            Fill::All(value) => std::slice::from_ref(value),
            Fill::Each(values) => values,
        }
    }
}

impl Default for Cutout {
    fn default() -> Self {
        Self { size: 0.5, varies: false, fill: Fill::All(0.5) }
    }
}

impl sluicebox_core::config::document::Settings for Cutout {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "size", self.size, 0.0..=1.0);
        self.fill.values().iter().for_each(|value| within(&mut faults, "fill", *value, 0.0..=1.0));
        faults
    }
}

impl Augmentation for Cutout {
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        let (count, _, height, width) = batch.size4().unwrap_or((0, 0, 0, 0));
        let (mut rows, mut columns) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let size = if self.varies { self.size * draws.random::<f64>() } else { self.size };
            rows.extend(covered(size, height, draws));
            columns.extend(covered(size, width, draws));
        }
        let device = batch.device();
        let parts = [Part::new(&rows, [count, 1, height, 1]), Part::new(&columns, [count, 1, 1, width])];
        let [rows, columns] = upload_all(parts, device);
        let square = rows.logical_and(&columns);
        match &self.fill {
            Fill::All(value) => batch.masked_fill(&square, *value),
            Fill::Each(values) => {
                let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
                upload(&Tensor::from_slice(&values).view([1, -1, 1, 1]), device).where_self(&square, batch)
            }
        }
    }

    fn refuses(&self, shape: Shape) -> Option<String> {
        match (shape, &self.fill) {
            (Shape::Image { channels, .. }, Fill::Each(values)) if values.len() != channels => {
                Some(format!("fills {} channels, but a sample has {channels}", values.len()))
            }
            _ => images_only(shape),
        }
    }
}

/// Returns for each of `side` pixels whether a square of `size` · `side` pixels covers it.
fn covered(size: f64, side: i64, draws: &mut Draws) -> impl Iterator<Item = bool> + use<> {
    let size = (size * side as f64).round() as i64;
    let start = draws.random_range(0..side) - size / 2;
    (0..side).map(move |pixel| (start..start + size).contains(&pixel))
}
