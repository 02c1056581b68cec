//! Linear layers with ReLU between them: `layers.0`, `layers.2`, … as in PyTorch's
//! `Sequential`.

use crate::model::api::{Model, Output};
use crate::model::layers::Linear;
use crate::model::layout::Layout;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::sample::Format;
use tch::{Kind, Tensor};

/// Options of the model.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Widths of the hidden layers.
    pub hidden: Vec<i64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { hidden: vec![128, 128] }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let bad = self.hidden.iter().find(|width| !(1..=1 << 20).contains(*width));
        bad.map(|width| ("hidden", format!("{width} must be the width of a layer: from 1 to 1048576")))
            .into_iter()
            .collect()
    }
}

struct Mlp {
    layout: Layout,
    layers: Vec<Linear>,
    features: i64,
}

/// Makes the model for samples of a format.
pub fn build(spec: &Spec, format: &Format) -> Result<Box<dyn Model>> {
    let options: Settings = settings(spec)?;
    let mut layout = Layout::default();
    let mut widths = vec![format.shape.len() as i64];
    widths.extend(options.hidden);
    widths.push(format.classes.len() as i64);
    let features = widths[widths.len() - 2];
    let pairs = widths.windows(2).enumerate();
    let layers = pairs
        .map(|(index, pair)| Linear::new(&mut layout, &format!("layers.{}", 2 * index), pair[0], pair[1]))
        .collect();
    Ok(Box::new(Mlp { layout: layout.arranged(), layers, features }))
}

impl Mlp {
    fn forward(&self, input: &Tensor, mut layer: impl FnMut(&Linear, &Tensor) -> Tensor) -> Output {
        let mut features = input.flatten(1, -1); // [N, F]
        for (index, linear) in self.layers.iter().enumerate() {
            let output = layer(linear, &features);
            if index + 1 == self.layers.len() {
                return Output { logits: output.to_kind(Kind::Float), features, heads: Vec::new() };
            }
            features = output.relu();
        }
        unreachable!("there is always an output layer")
    }
}

impl Model for Mlp {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn features(&self) -> i64 {
        self.features
    }

    fn train(&self, parameters: &[Tensor], _buffers: &[Tensor], input: &Tensor, _passes: u64) -> Output {
        self.forward(input, |linear, input| linear.train(parameters, input))
    }

    fn fold(&self, _parameters: &[Tensor], _buffers: &[Tensor], copies: Vec<Tensor>) -> Vec<Tensor> {
        let mut folded = Vec::new();
        self.layers.iter().for_each(|linear| linear.fold(&copies, &mut folded));
        folded
    }

    fn infer(&self, folded: &[Tensor], input: &Tensor) -> Output {
        let mut folded = folded.iter();
        self.forward(input, |_, input| Linear::infer(&mut folded, input))
    }
}
