//! Projection heads on a model's features: small stacks of linear layers with ReLU between them,
//! requested by a method. Named as PyTorch's `heads.NAME = Sequential(linear, relu, …)`.

use crate::device::Compute;
use crate::model::api::{Model, Output};
use crate::model::layers::Linear;
use crate::model::layout::Layout;
use sluicebox_core::rng::Draws;
use tch::{Kind, Tensor};

/// Output width of a layer of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// The number of the model's features.
    Features,
    /// The features divided by this, and at least 1.
    FeaturesOver(i64),
    /// The number of classes.
    Classes,
    /// This many.
    Fixed(i64),
}

impl Width {
    fn of(self, features: i64, classes: i64) -> i64 {
        match self {
            Width::Features => features,
            Width::FeaturesOver(parts) => (features / parts).max(1),
            Width::Classes => classes,
            Width::Fixed(width) => width,
        }
    }
}

/// A head that a method puts on the model's features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Name of the head in the weights.
    pub name: &'static str,
    /// Width between two of its layers.
    pub hidden: Width,
    /// Number of linear layers, at least 1.
    pub layers: usize,
    /// Width of the output.
    pub outputs: Width,
    /// Whether the gradient stops at the features.
    pub detached: bool,
}

/// Adds heads to the model: their layers come after its own, their outputs are in [`Output::heads`].
/// Without heads it returns the model itself.
pub fn with_heads(model: Box<dyn Model>, heads: &'static [Head], classes: i64) -> Box<dyn Model> {
    if heads.is_empty() {
        return model;
    }
    let mut layout = model.layout().clone();
    let stacks = heads.iter().map(|head| Stack::new(head, &mut layout, model.features(), classes)).collect();
    Box::new(Headed { model, layout: layout.arranged(), stacks })
}

struct Stack {
    layers: Vec<Linear>,
    detached: bool,
}

impl Stack {
    fn new(head: &Head, layout: &mut Layout, features: i64, classes: i64) -> Self {
        let mut inputs = features;
        let layer = |index| {
            let last = index + 1 == head.layers;
            let outputs = if last { head.outputs } else { head.hidden }.of(features, classes);
            let name = format!("heads.{}.{}", head.name, 2 * index);
            let linear = Linear::new(layout, &name, inputs, outputs);
            inputs = outputs;
            linear
        };
        Self { layers: (0..head.layers).map(layer).collect(), detached: head.detached }
    }

    /// Maps `[N, F]` to `[N, outputs]` f32.
    fn forward(&self, features: &Tensor, mut layer: impl FnMut(&Linear, &Tensor) -> Tensor) -> Tensor {
        let mut values = if self.detached { features.detach() } else { features.shallow_clone() };
        for (index, linear) in self.layers.iter().enumerate() {
            values = layer(linear, &if index > 0 { values.relu() } else { values });
        }
        values.to_kind(Kind::Float)
    }
}

struct Headed {
    model: Box<dyn Model>,
    layout: Layout,
    stacks: Vec<Stack>,
}

impl Model for Headed {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn features(&self) -> i64 {
        self.model.features()
    }

    fn compute(&self, compute: Compute) -> Compute {
        self.model.compute(compute)
    }

    fn input(&self, compute: Compute, batch: &Tensor) -> Tensor {
        self.model.input(compute, batch)
    }

    fn leaves(&self, views: Vec<Tensor>, draws: &mut Draws) -> Vec<Tensor> {
        self.model.leaves(views, draws)
    }

    fn least_batch(&self) -> u64 {
        self.model.least_batch()
    }

    fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor, passes: u64) -> Output {
        let mut output = self.model.train(parameters, buffers, input, passes);
        let layer = |linear: &Linear, values: &Tensor| linear.train(parameters, values);
        output.heads = self.stacks.iter().map(|stack| stack.forward(&output.features, layer)).collect();
        output
    }

    fn fold(&self, parameters: &[Tensor], buffers: &[Tensor], copies: Vec<Tensor>) -> Vec<Tensor> {
        let own = copies.iter().map(Tensor::shallow_clone).collect();
        let mut folded = self.model.fold(parameters, buffers, own);
        let layers = self.stacks.iter().flat_map(|stack| &stack.layers);
        layers.for_each(|linear| linear.fold(&copies, &mut folded));
        folded
    }

    fn infer(&self, folded: &[Tensor], input: &Tensor) -> Output {
        let layers: usize = self.stacks.iter().map(|stack| stack.layers.len()).sum();
        let (model, heads) = folded.split_at(folded.len() - 2 * layers);
        let mut output = self.model.infer(model, input);
        let mut heads = heads.iter();
        let mut layer = |_: &Linear, values: &Tensor| Linear::infer(&mut heads, values);
        output.heads = self.stacks.iter().map(|stack| stack.forward(&output.features, &mut layer)).collect();
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::model::MODELS;
    use crate::weights::Replica;
    use sluicebox_core::config::registry::Spec;
    use sluicebox_core::rng::{Randomness, Stage};
    use sluicebox_core::sample::{Dtype, Format, Shape};
    use tch::Device;

    const HEADS: &[Head] = &[
        Head {
            name: "projection",
            hidden: Width::Features,
            layers: 2,
            outputs: Width::FeaturesOver(4),
            detached: false,
        },
        Head { name: "second", hidden: Width::Features, layers: 1, outputs: Width::Classes, detached: true },
    ];

    fn plain() -> Box<dyn Model> {
        let spec = Spec { kind: "mlp".into(), options: "hidden = [8]".parse().unwrap() };
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let format = Format { shape: Shape::Vector { features: 5 }, dtype: Dtype::F32, scale: 1.0, classes };
        (MODELS.find("mlp").unwrap().build)(&spec, &format).unwrap()
    }

    fn replica(model: &dyn Model) -> Replica {
        let compute = Compute { device: Device::Cpu, precision: Precision::F32 };
        Replica::first(model.layout(), compute, &mut Randomness::new(1, 0).at(0, Stage::Weights))
    }

    #[test]
    fn heads_are_linear_layers_on_the_features() {
        let (plain, headed) = (plain(), with_heads(plain(), HEADS, 3));
        let names: Vec<&str> = headed.layout().parameters.iter().map(|slot| slot.name.as_str()).collect();
        assert_eq!(
            names[4..8].join(" "),
            "heads.projection.0.weight heads.projection.0.bias \
                                           heads.projection.2.weight heads.projection.2.bias"
        );
        let (own, with) = (replica(&*plain), replica(&*headed));
        let input = Tensor::arange(20, (Kind::Float, Device::Cpu)).view([4, 5]) / 10.0 - 1.0;
        let leaves = with.leaves();
        let output = headed.train(&leaves, with.buffers(), &input, 0);
        // The model's own output is unchanged, weights included.
        assert!(output.logits.equal(&plain.train(own.parameters(), own.buffers(), &input, 0).logits));
        let hidden = output.features.matmul(&leaves[4].tr()) + &leaves[5];
        let projection = hidden.clamp_min(0.0).matmul(&leaves[6].tr()) + &leaves[7];
        assert_eq!(output.heads[0].size(), [4, 2]);
        assert!(output.heads[0].allclose(&projection, 1e-5, 1e-6, false));
        let second = output.features.matmul(&leaves[8].tr()) + &leaves[9];
        assert!(output.heads[1].allclose(&second, 1e-5, 1e-6, false));
        // Inference returns the same.
        let inferred =
            headed.infer(&headed.fold(with.parameters(), with.buffers(), with.copies(Kind::Float)), &input);
        for (inferred, trained) in inferred.heads.iter().zip(&output.heads) {
            assert!(inferred.allclose(trained, 1e-5, 1e-6, false));
        }
    }

    #[test]
    fn a_detached_head_leaves_the_model_alone() {
        let headed = with_heads(plain(), HEADS, 3);
        let replica = replica(&*headed);
        let leaves = replica.leaves();
        let input = Tensor::ones([2, 5], (Kind::Float, Device::Cpu));
        let output = headed.train(&leaves, replica.buffers(), &input, 0);
        output.heads[1].sum(Kind::Float).backward();
        assert!(!leaves[0].grad().defined() && leaves[8].grad().defined());
        output.heads[0].sum(Kind::Float).backward();
        assert!(leaves[0].grad().defined());
    }
}
