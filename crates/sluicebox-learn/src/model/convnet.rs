//! A small network of 3×3 convolutions with batch norm, named as PyTorch's `features = Sequential(conv,
//! norm, relu, …)` and `classifier = Linear`.

use crate::model::api::{Model, Output};
use crate::model::layers::{ConvNorm, Linear};
use crate::model::layout::Layout;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Format, Shape};
use tch::{Kind, Tensor};

/// Options of the model.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Channels of each convolution, or 0 for a 2×2 max pool. Empty: `[32, 32, 0, 64]` for images of up
    /// to 16 pixels, else `[32, 0, 64, 0, 128]`.
    pub layers: Vec<i64>,
    /// Reduction of the last feature map to a vector.
    pub head: Head,
}

/// Reduction of the last feature map to a vector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
            faults.push(("layers", format!("{bad} is no number of channels")));
        }
        if !self.layers.is_empty() && self.layers.iter().all(|layer| *layer == 0) {
            faults.push(("layers", "there is no convolution in it".into()));
        }
        faults
    }
}

enum Layer {
    Convolution(ConvNorm),
    Pool,
}

struct ConvNet {
    layout: Layout,
    layers: Vec<Layer>,
    average: bool,
    features: i64,
    classifier: Linear,
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
    let mut layers = Vec::new();
    let mut index = 0;
    for size in sizes {
        if size == 0 {
            (height, width) = (height / 2, width / 2);
            layers.push(Layer::Pool);
            index += 1;
        } else {
            let (conv, norm) = (format!("features.{index}"), format!("features.{}", index + 1));
            layers.push(Layer::Convolution(ConvNorm::plain(&mut layout, &conv, &norm, inputs, size)));
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
    Ok(Box::new(ConvNet { layout: layout.arranged(), layers, average, features, classifier }))
}

impl ConvNet {
    fn body(&self, input: &Tensor, mut convolve: impl FnMut(&ConvNorm, &Tensor) -> Tensor) -> Tensor {
        let mut image = input.shallow_clone();
        for layer in &self.layers {
            image = match layer {
                Layer::Convolution(convolution) => convolve(convolution, &image).relu_(),
                Layer::Pool => image.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false),
            };
        }
        match self.average {
            true => image.mean_dim([2i64, 3].as_slice(), false, image.kind()), // [N, channels]
            false => image.flatten(1, -1),                                     // [N, channels·H·W]
        }
    }
}

impl Model for ConvNet {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn features(&self) -> i64 {
        self.features
    }

    fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor) -> Output {
        let features = self.body(input, |layer, image| layer.train(parameters, buffers, image));
        let logits = self.classifier.train(parameters, &features).to_kind(Kind::Float);
        Output { logits, features, heads: Vec::new() }
    }

    fn fold(&self, parameters: &[Tensor], buffers: &[Tensor]) -> Vec<Tensor> {
        let mut folded = Vec::new();
        for layer in &self.layers {
            if let Layer::Convolution(convolution) = layer {
                convolution.fold(parameters, buffers, &mut folded);
            }
        }
        self.classifier.fold(parameters, &mut folded);
        folded
    }

    fn infer(&self, folded: &[Tensor], input: &Tensor) -> Output {
        let mut folded = folded.iter();
        let features = self.body(input, |layer, image| layer.infer(&mut folded, image));
        let logits = Linear::infer(&mut folded, &features).to_kind(Kind::Float);
        Output { logits, features, heads: Vec::new() }
    }
}
