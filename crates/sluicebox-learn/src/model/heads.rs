//! Heads of a model, requested by a method: small stacks of linear layers with ReLU between them on the model's features,
//! named as PyTorch's `heads.NAME = Sequential(linear, relu, …)`, or a whole network of the same kind, named as that one is,
//! after `heads.NAME.`. Answers, exports and evaluations are those of the model itself.

use crate::device::Compute;
use crate::model::api::{Model, Output};
use crate::model::layers::Linear;
use crate::model::layout::{Layout, Slot};
use sluicebox_core::error::Result;
use sluicebox_core::rng::Draws;
use std::ops::Range;
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
    /// What the head stands on.
    pub base: Base,
}

/// What a head stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The model's features.
    Features,
    /// The model's features; the gradient stops there.
    DetachedFeatures,
    /// Samples: the head is a network of the model's kind with first weights of its own, and its output are that one's
    /// logits. It has no layers beside.
    Network,
}

/// The head that is a second network, for methods of two.
pub const TWIN: Head =
    Head { name: "twin", hidden: Width::Features, layers: 0, outputs: Width::Classes, base: Base::Network };

/// The head that tells by how many quarters an image was turned.
pub const TURN: Head =
    Head { name: "turn", hidden: Width::Features, layers: 1, outputs: Width::Fixed(4), base: Base::Features };

/// Returns the place of the second network among heads, if there is one.
pub fn twin(heads: &[Head]) -> Option<usize> {
    heads.iter().position(|head| head.base == Base::Network)
}

/// Adds heads to the model: their weights come after its own, their outputs are in [`Output::heads`]. `another` makes another
/// network of its kind. Without heads it returns the model itself.
pub fn with_heads(
    model: Box<dyn Model>,
    heads: &'static [Head],
    classes: i64,
    another: impl Fn() -> Result<Box<dyn Model>>,
) -> Result<Box<dyn Model>> {
    if heads.is_empty() {
        return Ok(model);
    }
    let mut layout = model.layout().clone();
    let of = |head: &Head| -> Result<Part> {
        Ok(match head.base {
            Base::Network => Part::Network(Twin::new(head, &mut layout, another()?)),
            _ => Part::Stack(Stack::new(head, &mut layout, model.features(), classes)),
        })
    };
    let parts = heads.iter().map(of).collect::<Result<_>>()?;
    Ok(Box::new(Headed { model, layout: layout.arranged(), parts }))
}

enum Part {
    Stack(Stack),
    Network(Twin),
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
        let detached = head.base == Base::DetachedFeatures;
        Self { layers: (0..head.layers).map(layer).collect(), detached }
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

/// Another network, and where its weights are.
struct Twin {
    model: Box<dyn Model>,
    parameters: Range<usize>,
    buffers: Range<usize>,
}

impl Twin {
    fn new(head: &Head, layout: &mut Layout, model: Box<dyn Model>) -> Self {
        let (parameters, buffers) = (layout.parameters.len(), layout.buffers.len());
        let name = |slot: &Slot| format!("heads.{}.{}", head.name, slot.name);
        for slot in &model.layout().parameters {
            layout.parameter(name(slot), &slot.shape, slot.init.clone());
        }
        for slot in &model.layout().buffers {
            layout.buffer(name(slot), &slot.shape, slot.kind, slot.init.clone());
        }
        let (parameters, buffers) = (parameters..layout.parameters.len(), buffers..layout.buffers.len());
        Self { model, parameters, buffers }
    }
}

struct Headed {
    model: Box<dyn Model>,
    layout: Layout,
    parts: Vec<Part>,
}

impl Headed {
    /// Number of folded weights of one network, of `folded` in all.
    fn of_network(&self, folded: usize) -> usize {
        let (mut networks, mut layers) = (1, 0);
        for part in &self.parts {
            match part {
                Part::Stack(stack) => layers += stack.layers.len(),
                Part::Network(_) => networks += 1,
            }
        }
        (folded - 2 * layers) / networks
    }
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

    fn twin(&self) -> Option<usize> {
        self.parts.iter().position(|part| matches!(part, Part::Network(_)))
    }

    fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor, passes: u64) -> Output {
        let mut output = self.model.train(parameters, buffers, input, passes);
        let layer = |linear: &Linear, values: &Tensor| linear.train(parameters, values);
        let of = |part: &Part| match part {
            Part::Stack(stack) => stack.forward(&output.features, layer),
            Part::Network(Twin { model, parameters: own, buffers: owned }) => {
                model.train(&parameters[own.clone()], &buffers[owned.clone()], input, passes).logits
            }
        };
        output.heads = self.parts.iter().map(of).collect();
        output
    }

    fn fold(&self, parameters: &[Tensor], buffers: &[Tensor], copies: Vec<Tensor>) -> Vec<Tensor> {
        let share = |copies: &[Tensor]| copies.iter().map(Tensor::shallow_clone).collect();
        let mut folded = self.model.fold(parameters, buffers, share(&copies));
        for part in &self.parts {
            match part {
                Part::Stack(stack) => {
                    stack.layers.iter().for_each(|linear| linear.fold(&copies, &mut folded))
                }
                Part::Network(Twin { model, parameters: own, buffers: owned }) => {
                    let copies = share(&copies[own.clone()]);
                    folded.extend(model.fold(&parameters[own.clone()], &buffers[owned.clone()], copies));
                }
            }
        }
        folded
    }

    fn infer(&self, folded: &[Tensor], input: &Tensor) -> Output {
        let of_network = self.of_network(folded.len());
        let (model, mut rest) = folded.split_at(of_network);
        let mut output = self.model.infer(model, input);
        let of = |part: &Part| {
            let count = match part {
                Part::Stack(stack) => 2 * stack.layers.len(),
                Part::Network(_) => of_network,
            };
            let own;
            (own, rest) = rest.split_at(count);
            match part {
                Part::Stack(stack) => {
                    let mut own = own.iter();
                    stack.forward(&output.features, |_, values| Linear::infer(&mut own, values))
                }
                Part::Network(twin) => twin.model.infer(own, input).logits,
            }
        };
        output.heads = self.parts.iter().map(of).collect();
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
            base: Base::Features,
        },
        Head {
            name: "second",
            hidden: Width::Features,
            layers: 1,
            outputs: Width::Classes,
            base: Base::DetachedFeatures,
        },
    ];

    fn plain() -> Box<dyn Model> {
        let spec = Spec { kind: "mlp".into(), options: "hidden = [8]".parse().unwrap() };
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let format = Format { shape: Shape::Vector { features: 5 }, dtype: Dtype::F32, scale: 1.0, classes };
        (MODELS.find("mlp").unwrap().build)(&spec, &format).unwrap()
    }

    fn headed(heads: &'static [Head]) -> Box<dyn Model> {
        with_heads(plain(), heads, 3, || Ok(plain())).unwrap()
    }

    fn replica(model: &dyn Model) -> Replica {
        let compute = Compute { device: Device::Cpu, precision: Precision::F32 };
        Replica::first(model.layout(), compute, &mut Randomness::new(1, 0).at(0, Stage::Weights))
    }

    #[test]
    fn heads_are_linear_layers_on_the_features() {
        let (plain, headed) = (plain(), headed(HEADS));
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
        let headed = headed(HEADS);
        let replica = replica(&*headed);
        let leaves = replica.leaves();
        let input = Tensor::ones([2, 5], (Kind::Float, Device::Cpu));
        let output = headed.train(&leaves, replica.buffers(), &input, 0);
        output.heads[1].sum(Kind::Float).backward();
        assert!(!leaves[0].grad().defined() && leaves[8].grad().defined());
        output.heads[0].sum(Kind::Float).backward();
        assert!(leaves[0].grad().defined());
    }

    #[test]
    fn a_second_network_has_weights_of_its_own_and_leaves_the_first_alone() {
        const WITH_TWIN: &[Head] = &[HEADS[0], TWIN, HEADS[1]];
        assert_eq!((twin(WITH_TWIN), twin(HEADS)), (Some(1), None));
        let (plain, headed) = (plain(), headed(WITH_TWIN));
        let names: Vec<&str> = headed.layout().parameters.iter().map(|slot| slot.name.as_str()).collect();
        let own: Vec<String> =
            plain.layout().parameters.iter().map(|slot| format!("heads.twin.{}", slot.name)).collect();
        assert_eq!(names[8..12], own);
        let (alone, with) = (replica(&*plain), replica(&*headed));
        let input = Tensor::arange(20, (Kind::Float, Device::Cpu)).view([4, 5]) / 10.0 - 1.0;
        let leaves = with.leaves();
        let output = headed.train(&leaves, with.buffers(), &input, 0);
        assert!(output.logits.equal(&plain.train(alone.parameters(), alone.buffers(), &input, 0).logits));
        let twins = plain.train(&leaves[8..12], &[], &input, 0).logits;
        assert!(output.heads[1].equal(&twins) && !output.logits.equal(&twins), "it starts elsewhere");
        // Inference returns the same, whatever heads stand before and after it.
        let folded = headed.fold(with.parameters(), with.buffers(), with.copies(Kind::Float));
        let inferred = headed.infer(&folded, &input);
        for (inferred, trained) in inferred.heads.iter().zip(&output.heads) {
            assert!(inferred.allclose(trained, 1e-5, 1e-6, false));
        }
        output.heads[1].sum(Kind::Float).backward();
        assert!(!leaves[0].grad().defined() && leaves[8].grad().defined());
    }
}
