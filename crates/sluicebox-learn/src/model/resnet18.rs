//! ResNet-18 (He et al. 2016, §4.1) for small images: the stem is a 3×3 convolution of stride 1 without
//! a pool. Named as torchvision's `resnet18`, so that weights can be exchanged.

use crate::model::api::Model;
use crate::model::convolutional::{Body, Convolutional, Layer};
use crate::model::layers::{BatchNorm, ConvNorm, Convolution, Linear, Norm, he};
use crate::model::layout::Layout;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Format, Shape};
use tch::Tensor;

/// Options of the model.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Channels of the first of the four groups; each further one has twice as many.
    pub width: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { width: 64 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[("width", self.width as f64, 1.0..=4096.0)])
    }
}

struct Block {
    first: ConvNorm,
    second: ConvNorm,
    /// `None`: the identity.
    shortcut: Option<ConvNorm>,
}

struct ResNet18 {
    stem: ConvNorm,
    blocks: Vec<Block>,
}

/// Makes the model for samples of a format.
pub fn build(spec: &Spec, format: &Format) -> Result<Box<dyn Model>> {
    let Settings { width } = settings(spec)?;
    let Shape::Image { channels, .. } = format.shape else {
        let reason = format!("model `resnet18` is for images, but a sample has {}", format.shape);
        return Err(Error::Request(reason));
    };
    let mut layout = Layout::default();
    let stem = layer(&mut layout, "conv1", "bn1", [width, channels as i64, 3, 3], 1);
    let mut inputs = width;
    let mut blocks = Vec::new();
    for group in 0..4 {
        for index in 0..2 {
            let outputs = width << group;
            let stride = if group > 0 && index == 0 { 2 } else { 1 };
            let name = format!("layer{}.{index}", group + 1);
            blocks.push(Block::new(&mut layout, &name, inputs, outputs, stride));
            inputs = outputs;
        }
    }
    let classifier = Linear::new(&mut layout, "fc", inputs, format.classes.len() as i64);
    let body = ResNet18 { stem, blocks };
    Ok(Box::new(Convolutional { layout: layout.arranged(), body, features: inputs, classifier }))
}

/// Declares a convolution with its batch norm.
fn layer(layout: &mut Layout, conv: &str, norm: &str, shape: [i64; 4], stride: i64) -> ConvNorm {
    let convolution = Convolution::new(layout, conv, shape, stride, he(shape));
    ConvNorm::new(convolution, BatchNorm::new(layout, norm, shape[0], Norm::default()))
}

impl Block {
    fn new(layout: &mut Layout, name: &str, inputs: i64, outputs: i64, stride: i64) -> Self {
        let mut layer = |conv: &str, norm: &str, shape, stride| {
            layer(layout, &format!("{name}.{conv}"), &format!("{name}.{norm}"), shape, stride)
        };
        Self {
            first: layer("conv1", "bn1", [outputs, inputs, 3, 3], stride),
            second: layer("conv2", "bn2", [outputs, outputs, 3, 3], 1),
            shortcut: (inputs != outputs)
                .then(|| layer("downsample.0", "downsample.1", [outputs, inputs, 1, 1], stride)),
        }
    }
}

impl Body for ResNet18 {
    fn layers(&self) -> Vec<Layer<'_>> {
        let blocks = self.blocks.iter();
        let blocks =
            blocks.flat_map(|block| [&block.first, &block.second].into_iter().chain(&block.shortcut));
        std::iter::once(&self.stem).chain(blocks).map(Layer::ConvNorm).collect()
    }

    fn forward(&self, input: &Tensor, mut apply: impl FnMut(Layer<'_>, &Tensor) -> Tensor) -> Tensor {
        let mut layer = |layer, image: &Tensor| apply(Layer::ConvNorm(layer), image);
        let mut image = layer(&self.stem, input).relu_();
        for Block { first, second, shortcut } in &self.blocks {
            let inside = layer(first, &image).relu_();
            let inside = layer(second, &inside);
            let around = shortcut.as_ref().map_or(image.shallow_clone(), |shortcut| layer(shortcut, &image));
            image = (inside + around).relu_();
        }
        image.mean_dim([2i64, 3].as_slice(), false, image.kind()) // [N, 8·width]
    }
}
