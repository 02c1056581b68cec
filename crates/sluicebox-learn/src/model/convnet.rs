//! A small network of 3×3 convolutions with batch norm, named as PyTorch's `features = Sequential(conv,
//! norm, relu, …)` and `classifier = Linear`.

use crate::model::api::Model;
use crate::model::convolutional::{Body, Convolutional, Layer};
use crate::model::layers::{ConvNorm, Linear};
use crate::model::layout::Layout;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Format, Shape};
use tch::Tensor;

/// Options of the model.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Channels of each convolution, or 0 for a 2×2 max pool. Empty: `[32, 32, 0, 64]` for images of up
    /// to 16 pixels, else `[32, 0, 64, 0, 128]`.
    pub layers: Vec<i64>,
    /// Reduction of the last feature map to a vector.
    pub head: Head,
}

/// Reduction of the last feature map to a vector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// `flatten` for images of up to 16 pixels, else `average`.
    #[default]
    Auto,
    /// All of its values, flattened.
    Flatten,
    /// The average of each channel.
    Average,
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let Some(bad) = self.layers.iter().find(|layer| !(0..=1 << 16).contains(*layer)) {
            faults.push(("layers", format!("{bad} must be 0 (a pool) or a number of channels up to 65536")));
        }
        if !self.layers.is_empty() && self.layers.iter().all(|layer| *layer == 0) {
            faults.push(("layers", "it must have at least one convolution (a number above 0)".into()));
        }
        faults
    }
}

enum Part {
    Convolution(ConvNorm),
    Pool,
}

struct ConvNet {
    parts: Vec<Part>,
    average: bool,
}

/// Makes the model for samples of a format.
pub fn build(spec: &Spec, format: &Format) -> Result<Box<dyn Model>> {
    let options: Settings = settings(spec)?;
    let Shape::Image { channels, height, width } = format.shape else {
        let reason = format!("model `convnet` is for images, but a sample has {}", format.shape);
        return Err(Error::Request(reason));
    };
    let small = height.max(width) <= 16;
    let sizes = match (options.layers.is_empty(), small) {
        (false, _) => options.layers,
        (true, true) => vec![32, 32, 0, 64],
        (true, false) => vec![32, 0, 64, 0, 128],
    };
    let mut layout = Layout::default();
    let (mut inputs, mut height, mut width) = (channels as i64, height as i64, width as i64);
    let mut parts = Vec::new();
    let mut index = 0;
    for size in sizes {
        if size == 0 {
            (height, width) = (height / 2, width / 2);
            parts.push(Part::Pool);
            index += 1;
        } else {
            let (conv, norm) = (format!("features.{index}"), format!("features.{}", index + 1));
            parts.push(Part::Convolution(ConvNorm::plain(&mut layout, &conv, &norm, inputs, size)));
            inputs = size;
            index += 3;
        }
    }
    if height == 0 || width == 0 {
        return Err(Error::request("model.layers: too many pools (0) for an image of this size"));
    }
    let average = options.head == Head::Average || (options.head == Head::Auto && !small);
    let features = if average { inputs } else { inputs * height * width };
    let classifier = Linear::new(&mut layout, "classifier", features, format.classes.len() as i64);
    let body = ConvNet { parts, average };
    Ok(Box::new(Convolutional { layout: layout.arranged(), body, features, classifier }))
}

impl Body for ConvNet {
    fn layers(&self) -> Vec<Layer<'_>> {
        let parts = self.parts.iter();
        let layers = parts.filter_map(|part| match part {
            Part::Convolution(convolution) => Some(Layer::ConvNorm(convolution)),
            Part::Pool => None,
        });
        layers.collect()
    }

    fn forward(&self, input: &Tensor, mut apply: impl FnMut(Layer<'_>, &Tensor) -> Tensor) -> Tensor {
        let mut image = input.shallow_clone();
        for part in &self.parts {
            image = match part {
                Part::Convolution(convolution) => apply(Layer::ConvNorm(convolution), &image).relu_(),
                Part::Pool => image.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false),
            };
        }
        match self.average {
            true => image.mean_dim([2i64, 3].as_slice(), false, image.kind()), // [N, channels]
            false => image.flatten(1, -1),                                     // [N, channels·H·W]
        }
    }
}
