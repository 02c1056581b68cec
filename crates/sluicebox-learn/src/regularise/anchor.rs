//! Anchors: what was learned before the stream changed is held. An anchor is set at a drift alarm, or where a phase of the job's
//! scenario ends; a later one takes its place. Before the first there is nothing to hold.
//!
//! - `l2`: half the squared distance of the weights to those at the anchor.
//! - `ewc` (Kirkpatrick et al. 2017, equation 3): the same, each weight by how much the loss depends on it. Its importance is the
//!   mean squared gradient of the updates before the anchor, and what earlier anchors said keeps a share (Schwarz et al. 2018,
//!   §4). Departures: of an update's gradient, not of each sample's; of the labels, not of the network's own; scaled to a mean of
//!   1, so that the factor means the same as for `l2`; and at most 10, since a few weights are a thousand times as important as
//!   the mean, and a step of gradient descent would throw these past the anchor.
//! - `lwf` (Li and Hoiem 2016, §3): what the network at the anchor says of the step's samples is a soft target of a temperature of
//!   2. It costs one more pass without gradients.

use crate::device::Compute;
use crate::loss::divergence;
use crate::model::api::Model;
use crate::model::layout::Slot;
use crate::torch::{copied, on_host};
use crate::weights::Replica;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::{Stateful, decode, encode};
use std::rc::Rc;
use tch::{Kind, Tensor};

/// Fraction of the mean squared gradient that is kept in an update: it is of about the last 100.
const MEMORY: f64 = 0.99;
/// Share of the importance at earlier anchors.
const EARLIER: f64 = 0.9;
/// Largest importance, of a mean of 1.
const MOST: f64 = 10.0;
/// Temperature of the old network's word, and of the new one's.
const TEMPERATURE: f64 = 2.0;

/// `regularise.anchor`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What is held.
    pub kind: Held,
    /// Factor of the term.
    pub weight: f64,
    /// Where anchors are set.
    pub at: At,
}

/// What an anchor holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// The weights.
    L2,
    /// The weights, each by its importance.
    Ewc,
    /// What the network says.
    #[default]
    Lwf,
}

/// Where anchors are set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum At {
    /// Where a drift alarm takes effect (`drift.action = "reweight"`).
    #[default]
    Alarms,
    /// Where a phase of `scenario` ends.
    Phases,
}

impl Default for Settings {
    fn default() -> Self {
        Self { kind: Held::default(), weight: 1.0, at: At::default() }
    }
}

/// Scales importances `[P]` to a mean of 1, of which the largest are cut.
fn scaled(importance: &Tensor) -> Tensor {
    (importance / importance.mean(Kind::Float).clamp_min(1e-30)).clamp_max(MOST)
}

/// The newest anchor, and what the next one needs.
pub struct Anchor {
    settings: Settings,
    model: Rc<dyn Model>,
    compute: Compute,
    /// `[P]` f32: mean squared gradient of the last updates.
    gradients: Option<Tensor>,
    /// `[P]` f32: importance of the weights, of mean 1.
    importance: Option<Tensor>,
    /// Weights `[P]` and running statistics at the anchor.
    held: Option<[Tensor; 2]>,
    /// The network with these, folded for inference, where it is needed.
    folded: Vec<Tensor>,
}

impl Anchor {
    /// Creates what sets anchors; there is none yet.
    pub fn new(settings: Settings, model: Rc<dyn Model>, compute: Compute) -> Self {
        Self { settings, model, compute, gradients: None, importance: None, held: None, folded: Vec::new() }
    }

    /// Sets an anchor at `weights`, if `event` is where that is done.
    pub fn set(&mut self, event: At, weights: &Replica) {
        if event == self.settings.at {
            let held = [copied(&weights.parameters), copied(&weights.buffers)];
            self.importance = self.gradients.as_ref().map(|squared| {
                let now = scaled(squared);
                self.importance
                    .as_ref()
                    .map_or_else(|| now.shallow_clone(), |then| scaled(&(&now + then * EARLIER)))
            });
            self.hold(held);
        }
    }

    fn hold(&mut self, held: [Tensor; 2]) {
        if self.settings.kind == Held::Lwf {
            let [parameters, buffers] = held.each_ref().map(Tensor::shallow_clone);
            let replica = Replica::with(self.model.layout(), self.compute, parameters, buffers);
            let copies = replica.copies(self.compute.kind());
            self.folded = tch::no_grad(|| self.model.fold(replica.parameters(), replica.buffers(), copies));
        }
        self.held = Some(held);
    }

    /// Takes in the gradient `[P]` of an update, and adds to it that of the term at `parameters` `[P]`.
    pub fn add(&mut self, parameters: &Tensor, gradients: &Tensor) {
        if self.settings.kind == Held::Ewc {
            let squared = gradients.square();
            let before = self.gradients.take().unwrap_or_else(|| squared.zeros_like());
            // An update that is not finite changes nothing.
            let is_finite = squared.sum(Kind::Float).isfinite();
            self.gradients = Some(before.lerp(&squared, 1.0 - MEMORY).where_self(&is_finite, &before));
        }
        let (Some([at, _]), Held::L2 | Held::Ewc) = (&self.held, self.settings.kind) else { return };
        let gaps = (parameters - at) * self.settings.weight;
        let gaps = self.importance.as_ref().map_or(gaps.shallow_clone(), |importance| gaps * importance);
        let _ = gradients.shallow_clone().g_add_(&gaps);
    }

    /// Returns the divergence of `logits` `[N, C]` from what the network at the anchor says of the `input` `[N, …]`, a mean over
    /// samples with weights `[N]`: a scalar, weighted. `None` where another kind is held, or nothing yet.
    pub fn term(&self, input: &Tensor, logits: &Tensor, weights: &Tensor) -> Option<Tensor> {
        if self.folded.is_empty() {
            return None;
        }
        let said = tch::no_grad(|| self.model.infer(&self.folded, input).logits / TEMPERATURE);
        let gaps = divergence(&said.softmax(1, Kind::Float), &(logits / TEMPERATURE));
        Some(gaps.dot(weights) / weights.sum(Kind::Float).clamp_min(1.0) * self.settings.weight)
    }
}

/// The state's name in messages.
const WHAT: &str = "`regularise.anchor`";

impl Stateful for Anchor {
    fn save(&self) -> Result<Vec<u8>> {
        let [parameters, buffers] = match &self.held {
            Some(held) => held.each_ref().map(Some),
            None => [None, None],
        };
        let tensors = [self.gradients.as_ref(), self.importance.as_ref(), parameters, buffers];
        encode(WHAT, &tensors.map(|tensor| tensor.map(on_host)))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let [gradients, importance, parameters, buffers]: [Option<Vec<f32>>; 4] = decode(WHAT, state)?;
        let layout = self.model.layout();
        let weights: i64 = layout.parameters.iter().map(Slot::len).sum();
        let fits = |values: &Option<Vec<f32>>, count: i64| {
            values.as_ref().is_none_or(|values| values.len() as i64 == count)
        };
        let whole = [&gradients, &importance, &parameters].into_iter().all(|values| fits(values, weights))
            && fits(&buffers, layout.buffer_count())
            && parameters.is_some() == buffers.is_some();
        if !whole {
            return Err(Error::Request(format!("the state of {WHAT} does not fit the job's model")));
        }
        let tensor = |values: Vec<f32>| Tensor::from_slice(&values).to_device(self.compute.device);
        (self.gradients, self.importance) = (gradients.map(tensor), importance.map(tensor));
        match parameters.zip(buffers) {
            Some((parameters, buffers)) => self.hold([tensor(parameters), tensor(buffers)]),
            None => (self.held, self.folded) = (None, Vec::new()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::model;
    use sluicebox_core::config::registry::Spec;
    use sluicebox_core::rng::{Randomness, Stage};
    use sluicebox_core::sample::{Dtype, Format, Shape};
    use tch::Device;

    /// A linear network of two features and two classes: weights (1, 0), (0, 1) and biases of 0.
    fn anchor(kind: Held) -> (Anchor, Replica) {
        let classes = ["a", "b"].map(String::from).into();
        let format = Format { shape: Shape::Vector { features: 2 }, dtype: Dtype::F32, scale: 1.0, classes };
        let spec = Spec { kind: "mlp".into(), options: "hidden = []".parse().unwrap() };
        let model: Rc<dyn Model> = model::build(&spec, &format, &[]).unwrap().into();
        let compute = Compute::new(Device::Cpu, Precision::F32);
        let replica =
            Replica::first(model.layout(), compute, &mut Randomness::new(0, 0).at(0, Stage::Weights));
        replica.parameters.shallow_clone().copy_(&Tensor::from_slice(&[1.0f32, 0.0, 0.0, 1.0, 0.0, 0.0]));
        (Anchor::new(Settings { kind, weight: 0.5, at: At::Alarms }, model, compute), replica)
    }

    fn list(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.reshape(-1)).unwrap()
    }

    /// Returns what the term adds to no gradient where each weight has moved by 2.
    fn pulled(anchor: &mut Anchor, replica: &Replica) -> Vec<f32> {
        let gradients = replica.parameters.zeros_like();
        anchor.add(&(&replica.parameters + 2.0), &gradients);
        list(&gradients)
    }

    #[test]
    fn weights_are_drawn_to_the_newest_anchor() {
        let (mut anchor, replica) = anchor(Held::L2);
        assert_eq!(pulled(&mut anchor, &replica), [0.0; 6], "there is none yet");
        anchor.set(At::Phases, &replica);
        assert_eq!(pulled(&mut anchor, &replica), [0.0; 6], "phases set none here");
        anchor.set(At::Alarms, &replica);
        assert_eq!(pulled(&mut anchor, &replica), [1.0; 6]);
    }

    #[test]
    fn important_weights_are_held_more() {
        let (mut anchor, replica) = anchor(Held::Ewc);
        let gradient = |values: [f32; 6]| Tensor::from_slice(&values);
        for _ in 0..3 {
            anchor.add(&replica.parameters, &gradient([2.0, 1.0, 1.0, 0.0, 0.0, 0.0]));
        }
        anchor.add(&replica.parameters, &gradient([f32::NAN, 0.0, 0.0, 0.0, 0.0, 0.0]));
        anchor.set(At::Alarms, &replica);
        // Squares 4, 1, 1, of mean 1.
        assert_eq!(pulled(&mut anchor, &replica), [4.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        let mut again = self::anchor(Held::Ewc).0;
        again.load(&anchor.save().unwrap()).unwrap();
        assert_eq!(again.save().unwrap(), anchor.save().unwrap());
        assert_eq!(pulled(&mut again, &replica), pulled(&mut anchor, &replica));
        assert!(
            again.load(&encode(WHAT, &[None::<Vec<f32>>, None, Some(vec![0.0]), None]).unwrap()).is_err()
        );
    }

    #[test]
    fn no_weight_is_thrown_past_the_anchor() {
        let one = Tensor::zeros([100], (Kind::Float, Device::Cpu));
        let _ = one.get(7).fill_(1e-9);
        assert_eq!(list(&scaled(&one))[5..9], [0.0, 0.0, 10.0, 0.0]);
    }

    #[test]
    fn what_was_said_is_held() {
        let (mut anchor, replica) = anchor(Held::Lwf);
        let input = Tensor::from_slice2(&[[4.0f32, 0.0], [0.0, 0.0]]);
        let logits = Tensor::from_slice2(&[[0.0f32, 0.0], [0.0, 9.0]]);
        let weights = Tensor::from_slice(&[1.0f32, 0.0]);
        assert!(anchor.term(&input, &logits, &weights).is_none());
        anchor.set(At::Alarms, &replica);
        assert_eq!(pulled(&mut anchor, &replica), [0.0; 6], "weights are free");
        // Said: softmax(2, 0); now: even. Σ p ln(2 p), times 0.5.
        let first = 1.0 / (1.0 + (-2f64).exp());
        let expected = 0.5 * (first * (2.0 * first).ln() + (1.0 - first) * (2.0 * (1.0 - first)).ln());
        let found = anchor.term(&input, &logits, &weights).unwrap().double_value(&[]);
        assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
        // The anchor does not move with the network.
        let _ = replica.parameters.shallow_clone().zero_();
        let mut again = self::anchor(Held::Lwf).0;
        again.load(&anchor.save().unwrap()).unwrap();
        for anchor in [anchor, again] {
            assert_eq!(anchor.term(&input, &logits, &weights).unwrap().double_value(&[]), found);
        }
    }
}
