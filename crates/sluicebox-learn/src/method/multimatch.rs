//! MultiMatch (Sirbu et al. 2025, §3): three last layers on the same features, each taught by the two others. A layer's
//! prediction passes if its margin, that of the first over the second logit, is not among the lowest of its class. Where the two
//! others say the same class, it is the pseudo-label, with weight 1 if both pass and 3 if one does (useful, but difficult). Where
//! they differ, it is that of the one that passes, with weight 3, if only one does. Besides, one of them must be above FreeMatch's
//! threshold of its class.
//!
//! Departures. The paper averages each sample's margin over epochs: a stream has each sample once, so that it is the teacher's, an
//! average of earlier weights. Its cut-offs follow the distribution of margins over a data set: here each is a running estimate
//! of the 5 % quantile of a class's margins.
//!
//! The mean of the three layers answers. It is the network's own last layer, so that answers, evaluations and exports are its, and
//! the two heads say how the three differ from it: `layers` makes them of these. Its matrix is orthogonal but for a factor, so
//! that a step of the optimiser is one on three layers of their own, at three times the learning rate.

use crate::loss::cross_entropy;
use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest};
use crate::method::average::{load_tensors, save_tensors};
use crate::method::freematch;
use crate::model::api::Output;
use crate::model::heads::{Base, Head, Width};
use crate::pseudo_labels::{PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::{Stateful, decode, encode};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Options of the method. The defaults are the paper's.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Fraction of FreeMatch's averages kept at each step.
    pub momentum: f64,
    /// Fraction of a class's margins that are below its cut-off.
    pub quantile: f64,
    /// Weight of a pseudo-label of which only one layer is certain.
    pub difficult_weight: f64,
    /// λ: weight of the unlabelled losses.
    pub unlabelled_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { momentum: 0.999, quantile: 0.05, difficult_weight: 3.0, unlabelled_weight: 1.0 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("momentum", self.momentum, 0.0..=1.0),
            ("quantile", self.quantile, 0.0..=1.0),
            ("difficult_weight", self.difficult_weight, 0.0..=1e3),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
        ])
    }
}

/// Number of last layers.
const LAYERS: usize = 3;
const HEADS: &[Head] = &[head("second"), head("third")];
/// `[B]` i64 and f32: class and weight of the pseudo-labels of the second and the third layer.
const CLASSES: [&str; 2] = ["second class", "third class"];
const WEIGHTS: [&str; 2] = ["second weight", "third weight"];
/// `[B]` f32: 1 where any layer has a pseudo-label.
const ANY: &str = "any";
/// Step of the running quantiles, as a fraction of the mean margin.
const RATE: f64 = 0.1;

const fn head(name: &'static str) -> Head {
    Head { name, hidden: Width::Features, layers: 1, outputs: Width::Classes, base: Base::Features }
}

/// Returns the logits of the three layers from their `mean` and the two heads, `[N, C]` each. Their mean is `mean`.
fn layers(mean: &Tensor, heads: &[Tensor]) -> Vec<Tensor> {
    let [second, third] = heads else { return vec![mean.shallow_clone()] };
    let layer = |at: usize| {
        let (sine, cosine) = (std::f64::consts::TAU * at as f64 / LAYERS as f64).sin_cos();
        mean + (second * cosine + third * sine) * std::f64::consts::SQRT_2
    };
    (0..LAYERS).map(layer).collect()
}

struct MultiMatch(Settings);

/// FreeMatch's averages, and the cut-offs of margins.
struct Labeller {
    settings: Settings,
    thresholds: freematch::Labeller,
    /// `[3, C]` f32
    cuts: Option<Tensor>,
}

/// What a layer says of B samples.
struct Said {
    /// `[B]` i64
    class: Tensor,
    /// `[B]` bool: whether the margin is above the cut-off.
    passes: Tensor,
    /// `[B]` bool: whether the probability is above FreeMatch's threshold.
    confident: Tensor,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(MultiMatch(settings(spec)?)))
}

/// Returns class `[B]` i64 and weight `[B]` f32 of the pseudo-labels that two layers make for the third.
fn taught(one: &Said, other: &Said, difficult: f64) -> (Tensor, Tensor) {
    let float = |is: &Tensor| is.to_kind(Kind::Float);
    let agree = one.class.eq_tensor(&other.class);
    let both = float(&one.passes.logical_and(&other.passes).logical_and(&agree));
    let only = float(&one.passes.logical_xor(&other.passes)) * difficult;
    let confident = float(&one.confident.logical_or(&other.confident));
    (one.class.where_self(&one.passes, &other.class), (both + only) * confident)
}

impl Method for MultiMatch {
    fn views(&self) -> ViewRequest {
        ViewRequest { heads: HEADS, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let thresholds = freematch::Labeller::new(self.0.momentum);
        Box::new(Labeller { settings: self.0.clone(), thresholds, cuts: None })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let of = |output: &Output| layers(&output.logits, &output.heads);
        let labelled = forward.labelled.as_ref().map(|labelled| (of(&labelled.output), &labelled.target));
        let strong = forward.strong.first().map(of);
        let of_labelled = |at: usize| {
            let (layers, target) = labelled.as_ref()?;
            Some(cross_entropy(layers.get(at)?, target).mean(Kind::Float))
        };
        let of_unlabelled = |at: usize| {
            let logits = strong.as_ref()?.get(at)?;
            let Some(other) = at.checked_sub(1) else {
                return Some(forward.over_batch(&cross_entropy(logits, &forward.target)));
            };
            let class = forward.rows.get(CLASSES[other])?.shallow_clone();
            let weight = forward.rows.get(WEIGHTS[other])? * forward.rows.get(ANY)?;
            Some(cross_entropy(logits, &Target::Hard(class)).dot(&weight) / forward.batch)
        };
        let weight = self.0.unlabelled_weight;
        let losses = (0..LAYERS).filter_map(|at| Loss::sum(of_labelled(at), of_unlabelled(at), weight));
        losses.reduce(|sum, other| sum.plus(&other.total))
    }

    fn loss_of_labels(&self, forward: Forward<'_>) -> Option<Loss> {
        self.loss(forward)
    }
}

impl Labeller {
    /// Returns what each layer says, of logits `[B, C]`, and takes its margins in.
    fn said(&mut self, layers: &[Tensor], thresholds: &Tensor) -> Vec<Said> {
        let (classes, device) = (thresholds.size()[0], thresholds.device());
        let cuts = match self.cuts.take() {
            Some(cuts) => cuts.to_device(device),
            None => Tensor::zeros([LAYERS as i64, classes], (Kind::Float, device)),
        };
        let mut followed = Vec::new();
        let said = layers.iter().enumerate().map(|(at, logits)| {
            let (top, places) = logits.topk(classes.min(2), 1, true, true);
            let (class, margin) = (places.select(1, 0), top.select(1, 0) - top.select(1, -1)); // [B], [B]
            let cut = cuts.get(at as i64); // [C]
            let passes = margin.ge_tensor(&cut.index_select(0, &class));
            let rows = Target::Hard(class.shallow_clone()).rows(classes); // [B, C]
            let counts = rows.sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
            let fails = passes.logical_not().to_kind(Kind::Float);
            let below = fails.matmul(&rows) / counts.clamp_min(1.0);
            let step = (self.settings.quantile - below) * counts.gt(0.0) * margin.mean(Kind::Float) * RATE;
            followed.push((cut + step).clamp_min(0.0));
            let confidence = logits.softmax(1, Kind::Float).amax([1i64].as_slice(), false);
            Said { confident: confidence.ge_tensor(&thresholds.index_select(0, &class)), class, passes }
        });
        let said = said.collect();
        self.cuts = Some(Tensor::stack(&followed, 0));
        said
    }

    /// Returns FreeMatch's thresholds `[C]` of the mean of the layers' probabilities.
    fn thresholds(&mut self, scores: &Scores, layers: &[Tensor]) -> Tensor {
        let rows: Vec<Tensor> = layers.iter().map(|logits| logits.softmax(1, Kind::Float)).collect();
        let mean = Tensor::stack(&rows, 0).mean_dim([0i64].as_slice(), false, Kind::Float);
        let none = || mean.narrow(0, 0, 0);
        let of_mean = Scores {
            step: scores.step,
            input: none(),
            labelled: None,
            features: none(),
            heads: Vec::new(),
            alarm: scores.alarm,
            ledger_stats: None,
            unlabelled: vec![mean.shallow_clone()],
        };
        let told = self.thresholds.pseudo_label(&of_mean).threshold;
        told.unwrap_or_else(|| Tensor::zeros([mean.size()[1]], (Kind::Float, mean.device())))
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let layers = layers(&scores.unlabelled[0].clamp_min(1e-12).log(), &scores.heads);
        let thresholds = self.thresholds(scores, &layers);
        let said = self.said(&layers, &thresholds);
        let confidence = scores.unlabelled[0].amax([1i64].as_slice(), false);
        let [one, second, third] = said.as_slice() else {
            return PseudoLabels::rejected(&scores.unlabelled[0]);
        };
        let difficult = self.settings.difficult_weight;
        let (class, weight) = taught(second, third, difficult);
        let others = [taught(one, third, difficult), taught(one, second, difficult)];
        let any = others.iter().fold(weight.gt(0.0), |any, (_, weight)| any.logical_or(&weight.gt(0.0)));
        let mut rows = BTreeMap::from([(ANY, any.to_kind(Kind::Float))]);
        for (at, (class, weight)) in others.into_iter().enumerate() {
            rows.extend([(CLASSES[at], class), (WEIGHTS[at], weight)]);
        }
        PseudoLabels {
            threshold: Some(thresholds),
            rows,
            further: Some(ANY),
            ..PseudoLabels::hard(class, confidence, weight)
        }
    }
}

/// The state's name in messages.
const WHAT: &str = "`multimatch`";

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        encode(WHAT, &(self.thresholds.save()?, save_tensors(&[&self.cuts])?))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let (thresholds, cuts): (Vec<u8>, Vec<u8>) = decode(WHAT, state)?;
        self.thresholds.load(&thresholds)?;
        load_tensors(&cuts, [&mut self.cuts])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(class: i64, passes: bool, confident: bool) -> Said {
        let of = |is: bool| Tensor::from_slice(&[is]);
        Said { class: Tensor::from_slice(&[class]), passes: of(passes), confident: of(confident) }
    }

    #[test]
    fn the_mean_of_three_layers_answers_and_they_are_independent() {
        let rows = |values: [f32; 3]| Tensor::from_slice(&values).view([1, 3]).set_requires_grad(true);
        let (mean, heads) = (rows([2.0, 1.0, -1.0]), [rows([0.5, 0.0, -0.5]), rows([0.0, 1.0, 3.0])]);
        let found = layers(&mean, &heads);
        let sum: Tensor = (&found[0] + &found[1] + &found[2]) / 3.0;
        assert!(sum.allclose(&mean, 1e-5, 1e-6, false));
        // The first layer learns: a step against its gradient moves it alone, by three times the gradient.
        let leaves = [&mean, &heads[0], &heads[1]];
        let gradients = Tensor::run_backward(&[found[0].sum(Kind::Float)], &leaves, false, false);
        let moved = |at: usize| (leaves[at] - &gradients[at]).detach();
        let after = layers(&moved(0), &[moved(1), moved(2)]);
        for (at, step) in [3.0, 0.0, 0.0].into_iter().enumerate() {
            assert!((&after[at] + step).allclose(&found[at], 1e-5, 1e-5, false), "layer {at}");
        }
    }

    #[test]
    fn two_layers_teach_the_third() {
        for (one, other, class, weight) in [
            (said(4, true, true), said(4, true, false), 4, 1.0),
            (said(4, true, true), said(4, false, false), 4, 3.0),
            (said(4, false, true), said(4, true, true), 4, 3.0),
            (said(4, false, true), said(4, false, true), 4, 0.0),
            (said(4, true, true), said(5, true, true), 4, 0.0),
            (said(4, false, true), said(5, true, true), 5, 3.0),
            (said(4, true, true), said(5, false, true), 4, 3.0),
            (said(4, true, false), said(4, true, false), 4, 0.0),
        ] {
            let (found, by) = taught(&one, &other, 3.0);
            assert_eq!((found.int64_value(&[0]), by.double_value(&[0])), (class, weight));
        }
    }

    #[test]
    fn margins_are_of_the_first_over_the_second_and_few_are_below_the_cut() {
        let settings = Settings { quantile: 0.25, ..Settings::default() };
        let mut labeller = Labeller { settings, thresholds: freematch::Labeller::new(0.9), cuts: None };
        let thresholds = Tensor::zeros([3], (Kind::Float, tch::Device::Cpu));
        // Margins of class 0 from 0.1 to 2 in steps of 0.1: the lowest quarter is below 0.5 or a little more.
        let logits: Vec<f32> = (1..=20).flat_map(|at| [1.0 + at as f32 / 10.0, 1.0, -1.0]).collect();
        let layers: Vec<Tensor> = (0..LAYERS).map(|_| Tensor::from_slice(&logits).view([20, 3])).collect();
        for _ in 0..200 {
            labeller.said(&layers, &thresholds);
        }
        let cut = labeller.cuts.as_ref().unwrap().double_value(&[0, 0]);
        assert!((0.4..=0.7).contains(&cut), "{cut}");
        let passes: Vec<bool> = Vec::try_from(&labeller.said(&layers, &thresholds)[0].passes).unwrap();
        assert!((14..=16).contains(&passes.iter().filter(|passes| **passes).count()), "{passes:?}");
        assert_eq!(labeller.cuts.as_ref().unwrap().double_value(&[0, 2]), 0.0, "never predicted");
    }
}
