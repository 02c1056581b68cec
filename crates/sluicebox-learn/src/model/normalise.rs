//! Input normalised by a given mean and deviation of each channel, as a part of the network's function: two buffers
//! under the names `normalise.mean` and `normalise.deviation`, which never change. So checkpoints and exported files
//! hold them. It is done in f32 also where the network computes in bf16, to which a mean of 1,000 would leave nothing of
//! a deviation of 1.

use crate::device::upload::upload;
use crate::device::{Compute, Precision};
use crate::model::api::{Model, Output};
use crate::model::layout::{Init, Layout};
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use std::cell::OnceCell;
use tch::{Kind, Tensor};

/// First part of the buffers' names.
pub const PREFIX: &str = "normalise.";

/// Mean and deviation of each channel of an image, or of each feature of a vector, after the source's scale: for colour
/// images of bytes, from 0 to 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Normalise {
    /// What is subtracted.
    pub mean: Vec<f64>,
    /// What the rest is divided by.
    pub deviation: Vec<f64>,
}

impl Normalise {
    /// Returns what is wrong with it, whatever the samples are.
    pub fn fault(&self) -> Option<String> {
        let (mean, deviation) = (self.mean.len(), self.deviation.len());
        if mean != deviation {
            return Some(format!("mean has {mean} values, but deviation has {deviation}"));
        }
        if let Some(bad) = self.deviation.iter().find(|value| !(value.is_finite() && **value > 0.0)) {
            return Some(format!("a deviation is {bad}, but it must be above 0"));
        }
        let bad = self.mean.iter().find(|value| !value.is_finite());
        bad.map(|bad| format!("a mean is {bad}, but it must be a finite number"))
    }

    /// Fails if samples of a shape have another number of channels.
    fn suits(&self, shape: Shape) -> Result<()> {
        let (channels, what) = match shape {
            Shape::Image { channels, .. } => (channels, "channel"),
            Shape::Vector { features } => (features, "feature"),
        };
        if self.mean.len() == channels {
            return Ok(());
        }
        let several = if channels == 1 { "" } else { "s" };
        Err(Error::Request(format!(
            "model.normalise: mean and deviation have {} values, but a sample has {channels} {what}{several}: give one for \
             each {what}",
            self.mean.len()
        )))
    }
}

/// Returns whether a tensor is one of those of the normalisation.
pub fn is_own(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Returns the model behind the normalisation.
pub fn normalised(model: Box<dyn Model>, settings: &Normalise, shape: Shape) -> Result<Box<dyn Model>> {
    settings.suits(shape)?;
    let mut layout = model.layout().clone();
    let values = [&settings.mean, &settings.deviation]
        .map(|values| values.iter().map(|value| *value as f32).collect::<Vec<f32>>());
    let own = [("mean", &values[0]), ("deviation", &values[1])].map(|(name, values)| {
        let given = Init::Given(values.as_slice().into());
        layout.buffer(format!("{PREFIX}{name}"), &[values.len() as i64], Kind::Float, given)
    });
    let broadcast = match shape {
        Shape::Image { .. } => vec![-1, 1, 1],
        Shape::Vector { .. } => vec![-1],
    };
    Ok(Box::new(Normalised { model, layout, own, values, uploaded: OnceCell::new(), broadcast }))
}

struct Normalised {
    model: Box<dyn Model>,
    layout: Layout,
    /// Indices of mean and deviation among the buffers.
    own: [usize; 2],
    /// Their values, and the same on the device, for inference: its folded weights are not f32.
    values: [Vec<f32>; 2],
    uploaded: OnceCell<[Tensor; 2]>,
    /// Their shape beside a sample's.
    broadcast: Vec<i64>,
}

impl Normalised {
    /// Normalises an input f32 by mean and deviation.
    fn normalise(&self, input: &Tensor, [mean, deviation]: [&Tensor; 2], kind: Kind) -> Tensor {
        let [mean, deviation] = [mean, deviation].map(|tensor| tensor.view(self.broadcast.as_slice()));
        ((input - mean) / deviation).to_kind(kind)
    }
}

impl Model for Normalised {
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
        Compute { precision: Precision::F32, ..compute }.input(batch)
    }

    fn leaves(&self, views: Vec<Tensor>, draws: &mut Draws) -> Vec<Tensor> {
        self.model.leaves(views, draws)
    }

    fn least_batch(&self) -> u64 {
        self.model.least_batch()
    }

    fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor, passes: u64) -> Output {
        // Biases and batch norm stay f32.
        let kind = parameters.iter().find(|tensor| tensor.dim() > 1).map_or(Kind::Float, Tensor::kind);
        let input = self.normalise(input, self.own.map(|index| &buffers[index]), kind);
        self.model.train(parameters, buffers, &input, passes)
    }

    fn fold(&self, parameters: &[Tensor], buffers: &[Tensor], copies: Vec<Tensor>) -> Vec<Tensor> {
        self.model.fold(parameters, buffers, copies)
    }

    fn infer(&self, folded: &[Tensor], input: &Tensor) -> Output {
        let upload = || {
            let upload = |values: &Vec<f32>| upload(&Tensor::from_slice(values), input.device());
            self.values.each_ref().map(upload)
        };
        let [mean, deviation] = self.uploaded.get_or_init(upload);
        let kind = folded.first().map_or(Kind::Float, Tensor::kind);
        self.model.infer(folded, &self.normalise(input, [mean, deviation], kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use crate::weights::Replica;
    use sluicebox_core::config::registry::Spec;
    use sluicebox_core::rng::{Randomness, Stage};
    use sluicebox_core::sample::{Dtype, Format};
    use tch::Device;

    fn built(options: &str, kind: &str, shape: Shape) -> Result<Box<dyn Model>> {
        let classes = ["ant", "bee"].map(String::from).to_vec();
        let format = Format { shape, dtype: Dtype::F32, scale: 1.0, classes };
        model::build(&Spec { kind: kind.into(), options: options.parse().unwrap() }, &format, &[])
    }

    #[test]
    fn the_network_sees_normalised_samples_in_training_and_inference() {
        let image = Shape::Image { channels: 2, height: 6, width: 6 };
        let vector = Shape::Vector { features: 2 };
        for (kind, options, shape, broadcast) in [
            ("convnet", "layers = [4]\n", image, [1, 2, 1, 1].as_slice()),
            ("mlp", "hidden = [5]\n", vector, [1, 2].as_slice()),
        ] {
            let plain = built(options, kind, shape).unwrap();
            let text = format!("{options}normalise = {{ mean = [1000, -1.0], deviation = [0.25, 2.0] }}");
            let normalised = built(&text, kind, shape).unwrap();
            for precision in [Precision::F32, Precision::Bf16] {
                let compute = Compute { device: Device::Cpu, precision };
                let replica = |model: &dyn Model| {
                    Replica::first(model.layout(), compute, &mut Randomness::new(1, 0).at(0, Stage::Weights))
                };
                let (one, two) = (replica(&*plain), replica(&*normalised));
                tch::manual_seed(3);
                let by_hand = Tensor::randn(shape.batch(5).as_slice(), (Kind::Float, Device::Cpu));
                // bf16 has no number between 1,000 and 1,004.
                let input = &by_hand * Tensor::from_slice(&[0.25f32, 2.0]).view(broadcast)
                    + Tensor::from_slice(&[1000.0f32, -1.0]).view(broadcast);
                let input = normalised.input(compute, &input);
                let by_hand = plain.input(compute, &by_hand);
                let near = |found: &Tensor, expected: &Tensor| {
                    let tolerance = if precision == Precision::F32 { 1e-3 } else { 5e-2 };
                    assert!(found.allclose(expected, tolerance, tolerance, false), "{kind} {precision:?}");
                };
                let infer = |model: &dyn Model, replica: &Replica, input: &Tensor| {
                    let copies = replica.copies(compute.kind());
                    let folded = model.fold(replica.parameters(), replica.buffers(), copies);
                    model.infer(&folded, input).logits
                };
                near(&infer(&*normalised, &two, &input), &infer(&*plain, &one, &by_hand));
                let train = |model: &dyn Model, replica: &Replica, input: &Tensor| {
                    model.train(&replica.leaves(), replica.buffers(), input, 0).logits
                };
                near(&train(&*normalised, &two, &input), &train(&*plain, &one, &by_hand));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let refused = |values: &str, kind, shape| {
            let text = format!("normalise = {{ mean = [{values}], deviation = [{values}] }}");
            built(&text, kind, shape).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let image = Shape::Image { channels: 1, height: 6, width: 6 };
        let said = refused("0.5, 0.5, 0.5", "convnet", image);
        assert!(
            said.contains("have 3 values, but a sample has 1 channel: give one for each channel"),
            "{said}"
        );
        let said = refused("0.5", "mlp", Shape::Vector { features: 11 });
        assert!(said.contains("have 1 values, but a sample has 11 features"), "{said}");
        let fault = |mean: &[f64], deviation: &[f64]| {
            Normalise { mean: mean.to_vec(), deviation: deviation.to_vec() }.fault().unwrap_or_default()
        };
        assert_eq!(fault(&[1.0], &[1.0, 1.0]), "mean has 1 values, but deviation has 2");
        assert_eq!(fault(&[1.0], &[0.0]), "a deviation is 0, but it must be above 0");
        assert!(fault(&[f64::NAN], &[1.0]).contains("finite") && fault(&[0.0], &[1.0]).is_empty());
    }
}
