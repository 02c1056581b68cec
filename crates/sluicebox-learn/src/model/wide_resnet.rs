//! Wide residual networks (Zagoruyko and Komodakis 2016, §2 and table 1), as FixMatch and USB train
//! them: leaky ReLU, slowly updated batch norm, and a first block that activates before the residual
//! branch splits off. Named as in their PyTorch code: `conv1`, `block1.layer.0.bn1`, …, `bn1`, `fc`.
//!
//! In the widening first blocks of groups 2 and 3 the convolution takes the activated input, as in the
//! paper and in FixMatch's own code; PyTorch ports of it omit that activation.

use crate::model::api::Model;
use crate::model::convolutional::{Body, Convolutional, Layer};
use crate::model::layers::{BatchNorm, ConvNorm, Convolution, Linear, Norm, he};
use crate::model::layout::{Init, Layout};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::{above_to, within};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Format, Shape};
use std::ops::Bound;
use tch::Tensor;

/// Options of the model.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Number of layers: 6n + 4.
    pub depth: i64,
    /// Factor on the channels, which are 16, 32 and 64.
    pub width: i64,
    /// Weight of a batch in the running statistics of batch norm.
    pub momentum: f64,
    /// Added to batch norm's variance to keep the division finite.
    pub epsilon: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { depth: 28, width: 2, momentum: 1e-3, epsilon: 1e-3 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !(10..=1000).contains(&self.depth) || self.depth % 6 != 4 {
            faults.push(("depth", format!("{} must be 6n + 4: 10, 16, 22, 28, …", self.depth)));
        }
        within(&mut faults, "width", self.width as f64, 1.0..=64.0);
        within(&mut faults, "momentum", self.momentum, above_to(0.0, 1.0));
        within(&mut faults, "epsilon", self.epsilon, (Bound::Excluded(0.0), Bound::Excluded(1.0)));
        faults
    }
}

/// Slope of the activation below 0.
const SLOPE: f64 = 0.1;

/// A residual block after its first activation.
struct Block {
    /// Batch norm before the first activation; `None` in the very first block, where the stem includes it.
    norm: Option<BatchNorm>,
    first: ConvNorm,
    second: Convolution,
    /// `None`: the identity.
    shortcut: Option<Convolution>,
}

struct WideResNet {
    /// Includes the batch norm of the very first block: nothing else uses the image before it.
    stem: ConvNorm,
    blocks: Vec<Block>,
    norm: BatchNorm,
}

/// Makes the model for samples of a format.
pub fn build(spec: &Spec, format: &Format) -> Result<Box<dyn Model>> {
    let Settings { depth, width, momentum, epsilon } = settings(spec)?;
    let Shape::Image { channels, .. } = format.shape else {
        let reason = format!("model `wide-resnet` is for images, but a sample has {}", format.shape);
        return Err(Error::Request(reason));
    };
    let constants = Norm { momentum, epsilon };
    let mut layout = Layout::default();
    let shape = [16, channels as i64, 3, 3];
    let stem = Convolution::new(&mut layout, "conv1", shape, 1, he(shape));
    let stem = ConvNorm::new(stem, BatchNorm::new(&mut layout, "block1.layer.0.bn1", 16, constants));
    let mut inputs = 16;
    let mut blocks = Vec::new();
    for group in 0..3 {
        for index in 0..(depth - 4) / 6 {
            let outputs = (16 << group) * width;
            let stride = if group > 0 && index == 0 { 2 } else { 1 };
            let name = format!("block{}.layer.{index}", group + 1);
            let norm = (group + index > 0)
                .then(|| BatchNorm::new(&mut layout, &format!("{name}.bn1"), inputs, constants));
            blocks.push(Block::new(&mut layout, &name, norm, [inputs, outputs], stride, constants));
            inputs = outputs;
        }
    }
    let norm = BatchNorm::new(&mut layout, "bn1", inputs, constants);
    let classes = format.classes.len() as i64;
    let glorot = Init::Normal((2.0 / (inputs + classes) as f64).sqrt());
    let classifier = Linear::starting(&mut layout, "fc", [inputs, classes], glorot, Init::Constant(0.0));
    let body = WideResNet { stem, blocks, norm };
    Ok(Box::new(Convolutional { layout: layout.arranged(), body, features: inputs, classifier }))
}

impl Block {
    fn new(
        layout: &mut Layout,
        name: &str,
        norm: Option<BatchNorm>,
        [inputs, outputs]: [i64; 2],
        stride: i64,
        constants: Norm,
    ) -> Self {
        let convolution = |layout: &mut Layout, part: &str, shape, stride| {
            Convolution::new(layout, &format!("{name}.{part}"), shape, stride, he(shape))
        };
        let first = convolution(layout, "conv1", [outputs, inputs, 3, 3], stride);
        let after = BatchNorm::new(layout, &format!("{name}.bn2"), outputs, constants);
        Self {
            norm,
            first: ConvNorm::new(first, after),
            second: convolution(layout, "conv2", [outputs, outputs, 3, 3], 1),
            shortcut: (inputs != outputs)
                .then(|| convolution(layout, "convShortcut", [outputs, inputs, 1, 1], stride)),
        }
    }
}

impl Body for WideResNet {
    fn forward(&self, input: &Tensor, mut layer: impl FnMut(Layer<'_>, &Tensor) -> Tensor) -> Tensor {
        let mut image = layer(Layer::ConvNorm(&self.stem), input);
        for Block { norm, first, second, shortcut } in &self.blocks {
            let active = match norm {
                Some(norm) => activate(layer(Layer::Norm(norm), &image)),
                None => {
                    image = activate(image);
                    image.shallow_clone()
                }
            };
            let inside = activate(layer(Layer::ConvNorm(first), &active));
            let inside = layer(Layer::Convolution(second), &inside);
            image = inside
                + match shortcut {
                    Some(shortcut) => layer(Layer::Convolution(shortcut), &image),
                    None => image,
                };
        }
        let image = activate(layer(Layer::Norm(&self.norm), &image));
        image.mean_dim([2i64, 3].as_slice(), false, image.kind()) // [N, 64·width]
    }

    fn layers(&self) -> Vec<Layer<'_>> {
        let mut layers = vec![Layer::ConvNorm(&self.stem)];
        for Block { norm, first, second, shortcut } in &self.blocks {
            layers.extend(norm.as_ref().map(Layer::Norm));
            layers.extend([Layer::ConvNorm(first), Layer::Convolution(second)]);
            layers.extend(shortcut.as_ref().map(Layer::Convolution));
        }
        layers.push(Layer::Norm(&self.norm));
        layers
    }
}

/// Applies leaky ReLU. tch's function takes no slope, but its backward kernel does: x times the slope at x.
fn activate(image: Tensor) -> Tensor {
    image.detach().leaky_relu_backward(&image, SLOPE, false)
}
