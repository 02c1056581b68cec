//! AdaWAC (Dong, Xie and Ward 2023, §4): each labelled sample has a weight β for its cross-entropy, and 1 - β for the
//! consistency of two views of it. β rises where the loss is larger than the inconsistency: logit β ← logit β + η (ℓ - r). Samples of
//! which little is to be learned from their labels count by their consistency, those without a label by that alone.
//! A sample whose label is wrong keeps a large loss, and so a large β: this is not a method against wrong labels.
//!
//! Consistency is the squared distance of probabilities, a sum over classes, whose gradient goes into both views.
//!
//! Departures. ℓ and r in the step of β are the teacher's. logit β stays within ±4, or η = 8 would fix a sample's weight after one
//! draw. The paper segments images: its Dice loss is left out, and its distance is that of an encoder's features, as a moved
//! image has another segmentation. It has the same class. With features, unlabelled samples taught next to nothing, whatever
//! their weight: 91.6 % on digits with 40 labels, `supervised` 90.3.

use crate::device::upload::upload;
use crate::loss::cross_entropy;
use crate::messages::{LabelledScores, Scores};
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, View, ViewRequest};
use crate::method::average::{load_tensors, save_tensors};
use crate::method::ramp::for_the_report;
use crate::model::api::Output;
use crate::pseudo_labels::{JudgedLabels, PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::{Stateful, decode, encode};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Options of the method.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// η: rate at which weights change.
    pub rate: f64,
    /// λ_dac: weight of the consistency, of labelled samples too.
    pub unlabelled_weight: f64,
    /// Steps over which the consistency of unlabelled samples ramps up. 0: full weight from the start.
    pub ramp_steps: u64,
    /// Maximum number of labelled samples whose weight is remembered; each further one takes the place of one as many labels
    /// older.
    pub capacity: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rate: 1.0, unlabelled_weight: 1.0, ramp_steps: 400, capacity: 16_384 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("rate", self.rate, 0.0..=1e3),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
            ("capacity", self.capacity as f64, 1.0..=1e6),
        ])
    }
}

/// Largest logit of a weight.
const MOST: f64 = 4.0;
/// `[L]` f32: 1 - β.
const REST: &str = "rest";

struct AdaWac(Settings);

/// The logits of the labelled samples' weights.
struct Labeller {
    settings: Settings,
    report: Box<dyn PseudoLabeller>,
    /// Key of the sample in each slot; the slot of a key is its remainder by the capacity.
    keys: BTreeMap<u64, u64>,
    /// `[capacity]` f32
    logits: Option<Tensor>,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(AdaWac(settings(spec)?)))
}

/// Returns the squared distance of probabilities `[N, C]` of two views, a sum over classes: `[N]`.
fn apart(one: &Tensor, other: &Tensor) -> Tensor {
    (one - other).square().sum_dim_intlist([1i64].as_slice(), false, Kind::Float)
}

/// The same of a network's outputs.
fn unlike(one: &Output, other: &Output) -> Tensor {
    let [one, other] = [one, other].map(|output| output.logits.softmax(1, Kind::Float));
    apart(&one, &other)
}

impl AdaWac {
    /// Returns the loss of labelled samples, a scalar; `None` without any.
    fn of_labelled(&self, forward: &Forward<'_>) -> Option<Tensor> {
        let loss = forward.labelled_loss_of_views()?;
        let labelled = forward.labelled.as_ref()?;
        let Some((rest, second)) = labelled.rows.get(REST).zip(labelled.further.first()) else {
            return Some(loss);
        };
        let each = unlike(&labelled.output, second) * rest;
        Some(loss + labelled.mean(&each) * self.0.unlabelled_weight)
    }
}

impl Method for AdaWac {
    fn views(&self) -> ViewRequest {
        ViewRequest {
            student: vec![View::Labelled, View::Labelled],
            labelled: vec![View::Labelled],
            labelled_scores: true,
            ..ViewRequest::default()
        }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let report = for_the_report(self.0.ramp_steps);
        Box::new(Labeller { settings: self.0.clone(), report, keys: BTreeMap::new(), logits: None })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let unlabelled = match forward.strong.as_slice() {
            [one, other] => Some(forward.over_batch(&unlike(one, other))),
            _ => None,
        };
        Loss::sum(self.of_labelled(&forward), unlabelled, self.0.unlabelled_weight)
    }
}

impl Labeller {
    /// Takes a step of the weights. Returns them: `[L]` f32.
    fn weights(&mut self, labelled: &LabelledScores) -> Tensor {
        let target = Target::Hard(labelled.classes.shallow_clone());
        let loss = |rows: &Tensor| cross_entropy(&rows.clamp_min(1e-12).log(), &target); // [L]
        let first = loss(&labelled.probabilities);
        let gap = match labelled.further.first() {
            Some(second) => {
                let apart = apart(&labelled.probabilities, &second.probabilities);
                let apart = apart * self.settings.unlabelled_weight;
                (first + loss(&second.probabilities)) / 2.0 - apart
            }
            None => first,
        };
        let (device, capacity) = (gap.device(), self.settings.capacity);
        let logits = self.logits.take().map_or_else(
            || Tensor::zeros([capacity as i64], (Kind::Float, device)),
            |logits| logits.to_device(device),
        );
        let slot = |key: &u64| *key % capacity as u64;
        let known: Vec<f32> =
            labelled.keys.iter().map(|key| f32::from(self.keys.get(&slot(key)) == Some(key))).collect();
        let slots: Vec<i64> = labelled.keys.iter().map(|key| slot(key) as i64).collect();
        let sent = |tensor: Tensor| upload(&tensor, device);
        let before =
            logits.index_select(0, &sent(Tensor::from_slice(&slots))) * sent(Tensor::from_slice(&known));
        let after = (before + gap * self.settings.rate).clamp(-MOST, MOST);
        self.keys.extend(labelled.keys.iter().map(|key| (slot(key), *key)));
        // The last of each slot stays.
        let last: BTreeMap<i64, i64> = slots.into_iter().zip(0..).collect();
        let (slots, places): (Vec<i64>, Vec<i64>) = last.into_iter().unzip();
        let (slots, places) = (sent(Tensor::from_slice(&slots)), sent(Tensor::from_slice(&places)));
        self.logits = Some(logits.index_copy(0, &slots, &after.index_select(0, &places)));
        after.sigmoid()
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let labelled = scores.labelled.as_ref().map(|labelled| {
            let weight = self.weights(labelled);
            let rows = [(REST, 1.0 - &weight)].into();
            JudgedLabels { weight: Some(weight), rows, ..JudgedLabels::as_given(&labelled.classes) }
        });
        PseudoLabels { labelled, ..self.report.pseudo_label(scores) }
    }
}

/// The state's name in messages.
const WHAT: &str = "`adawac`";

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        encode(WHAT, &(&self.keys, save_tensors(&[&self.logits])?))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let (keys, logits): (BTreeMap<u64, u64>, Vec<u8>) = decode(WHAT, state)?;
        load_tensors(&logits, [&mut self.logits])?;
        self.keys = keys;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labeller(capacity: usize) -> Labeller {
        let settings = Settings { rate: 8.0, unlabelled_weight: 10.0, capacity, ..Settings::default() };
        Labeller { settings, report: for_the_report(0), keys: BTreeMap::new(), logits: None }
    }

    /// Scores of samples with these keys, whose loss is as large as can be, or small with views that are told apart.
    fn scores(keys: &[u64], is_hard: bool) -> LabelledScores {
        let count = keys.len() as i64;
        let rows = |class: i64| Tensor::full([count], class, (Kind::Int64, tch::Device::Cpu)).one_hot(2);
        let probabilities = rows(i64::from(is_hard)).to_kind(Kind::Float);
        let view = crate::messages::ViewScores {
            probabilities: if is_hard { probabilities.shallow_clone() } else { probabilities.full_like(0.5) },
            features: Tensor::new(),
        };
        LabelledScores {
            probabilities,
            features: Tensor::new(),
            heads: Vec::new(),
            input: Tensor::new(),
            classes: Tensor::zeros([count], (Kind::Int64, tch::Device::Cpu)),
            keys: keys.to_vec(),
            further: vec![view],
        }
    }

    fn list(tensor: Tensor) -> Vec<f32> {
        Vec::try_from(tensor).unwrap()
    }

    #[test]
    fn a_weight_comes_back_and_belongs_to_its_sample() {
        let (high, low) = (1.0 / (1.0 + (-4f32).exp()), 1.0 / (1.0 + 4f32.exp()));
        let mut labeller = labeller(10);
        assert_eq!(list(labeller.weights(&scores(&[3, 4], true))), [high, high]);
        assert_eq!(list(labeller.weights(&scores(&[4], false))), [low], "one step is enough to come back");
        assert_eq!(list(labeller.weights(&scores(&[3], true))), [high]);
        // 13 takes the place of 3, which is as a new one when it comes again.
        let _ = labeller.weights(&scores(&[13], false));
        let mut again = self::labeller(10);
        again.load(&labeller.save().unwrap()).unwrap();
        for labeller in [&mut labeller, &mut again] {
            assert_eq!(labeller.keys.len(), 2);
            assert_eq!(list(labeller.weights(&scores(&[3, 4, 3], true))), [high, high, high]);
        }
    }
}
