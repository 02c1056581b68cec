//! ABC, an auxiliary balanced classifier (Lee, Shin and Kim 2021, §3): FixMatch for classes of which some come far more often.
//! The network has two last layers on the same features. One learns as FixMatch does. The other learns from samples of a
//! class c only with probability n_min / n_c, by how often classes come among labelled samples, so that for it all classes
//! come alike; it is the one that answers.
//!
//! - Labelled samples: cross-entropy of both, in the second with that probability.
//! - Unlabelled samples: each last layer learns from those of which it is confident itself. For the first their class is the target,
//!   for the second its probabilities, as in the authors' code. The second keeps those of class c with a probability that falls
//!   from 1 to n_min / n_c over `ramp_steps` steps (over the whole training in the paper).
//!
//! Losses of the second one are divided by how many samples are kept in expectation, so that they are as large as those of the
//! first: the paper divides by all samples, which makes them smaller by what is left out, and trains with Adam, to which the
//! size of a loss is the same.
//!
//! Here the second one is the network's own last layer and the first a further head, so that answers, evaluations and exports
//! are the balanced classifier's.

use crate::generator::seeded;
use crate::loss::cross_entropy;
use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest};
use crate::method::average::{load_tensors, save_tensors};
use crate::method::frequencies::Frequencies;
use crate::method::ramp::progress;
use crate::model::heads::{Base, Head, Width};
use crate::pseudo_labels::{PseudoLabels, Target};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::rng::Draws;
use sluicebox_core::state::Stateful;
use tch::{Kind, Tensor};

/// Options of the method.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a pseudo-label, of either last layer.
    pub threshold: f64,
    /// λ: weight of the unlabelled losses.
    pub unlabelled_weight: f64,
    /// Steps over which pseudo-labels of frequent classes become rarer. 0: they are rare from the start.
    pub ramp_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.95, unlabelled_weight: 1.0, ramp_steps: 400 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("threshold", self.threshold, 0.0..=1.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
        ])
    }
}

const HEADS: &[Head] = &[Head {
    name: "unbalanced",
    hidden: Width::Features,
    layers: 1,
    outputs: Width::Classes,
    base: Base::Features,
}];
/// `[B]` i64: the balanced classifier's class.
const OWN: &str = "own";
/// `[B]` i64 and f32: class and weight of the unbalanced classifier's pseudo-labels.
const CLASS: &str = "class";
const WEIGHT: &str = "unbalanced";
/// `[C]` f32: probability with which labelled and unlabelled samples of a class are kept.
const LABELLED: &str = "labelled";
const UNLABELLED: &str = "unlabelled";

struct Abc(Settings);

/// How often each class comes.
struct Labeller {
    settings: Settings,
    frequencies: Frequencies,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(Abc(settings(spec)?)))
}

/// Returns the probability with which samples of each class are kept so that all classes come alike, from their counts
/// `[C]`: that of the rarest class of which there is a sample, over the class's own.
fn kept(counts: &Tensor) -> Tensor {
    let present = counts.gt(0.0);
    let least = counts.masked_fill(&present.logical_not(), f64::INFINITY).amin([0i64].as_slice(), true);
    (least / counts).masked_fill(&present.logical_not(), 1.0)
}

/// Draws whether samples are kept, each with its probability in `kept` `[N]`: `[N]` f32, 0 or 1.
fn drawn(kept: &Tensor, draws: &mut Draws) -> Tensor {
    seeded(draws.random(), || kept.rand_like()).lt_tensor(kept).to_kind(Kind::Float)
}

/// Returns the mean of losses `each` `[N]`, weighted by `weight` `[N]`, over as many samples as are kept in expectation, of those
/// that are drawn by their probabilities `kept` `[N]`: a scalar.
fn mean_of_drawn(each: &Tensor, kept: &Tensor, weight: &Tensor, draws: &mut Draws) -> Tensor {
    (each * drawn(kept, draws)).dot(weight) / kept.dot(weight).clamp_min(1e-6)
}

impl Abc {
    /// Returns the losses of labelled and of unlabelled samples, scalars; `None` without any.
    fn balanced(forward: &mut Forward<'_>) -> (Option<Tensor>, Option<Tensor>) {
        let draws = &mut forward.draws;
        let labelled = forward.labelled.as_ref().map(|labelled| {
            let each = cross_entropy(&labelled.output.logits, &labelled.target);
            match forward.constants.get(LABELLED) {
                Some(kept) => {
                    let kept = kept.index_select(0, labelled.classes);
                    mean_of_drawn(&each, &kept, &each.ones_like(), draws)
                }
                None => each.mean(Kind::Float),
            }
        });
        let unlabelled = forward.strong.first().zip(forward.constants.get(UNLABELLED));
        let unlabelled = unlabelled.and_then(|(view, kept)| {
            let classes = forward.rows.get(OWN)?;
            let each = cross_entropy(&view.logits, &forward.target);
            let (kept, weight) = (kept.index_select(0, classes), &forward.weight);
            Some(mean_of_drawn(&each, &kept, weight, draws) * weight.sum(Kind::Float) / forward.batch)
        });
        (labelled, unlabelled)
    }

    /// The same of the unbalanced classifier, which learns as FixMatch does.
    fn unbalanced(forward: &Forward<'_>) -> (Option<Tensor>, Option<Tensor>) {
        let labelled = forward.labelled.as_ref().and_then(|labelled| {
            let each = cross_entropy(labelled.output.heads.first()?, &labelled.target);
            Some(each.mean(Kind::Float))
        });
        let unlabelled = forward.strong.first().and_then(|view| {
            let classes = forward.rows.get(CLASS)?.shallow_clone();
            let each = cross_entropy(view.heads.first()?, &Target::Hard(classes));
            Some(each.dot(forward.rows.get(WEIGHT)?) / forward.batch)
        });
        (labelled, unlabelled)
    }
}

impl Method for Abc {
    fn views(&self) -> ViewRequest {
        ViewRequest { labelled_scores: true, heads: HEADS, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        Box::new(Labeller { settings: self.0.clone(), frequencies: Frequencies::default() })
    }

    fn loss(&self, mut forward: Forward<'_>) -> Option<Loss> {
        let weight = self.0.unlabelled_weight;
        let (labelled, unlabelled) = Self::balanced(&mut forward);
        let loss = Loss::sum(labelled, unlabelled, weight)?;
        let (labelled, unlabelled) = Self::unbalanced(&forward);
        Some(match Loss::sum(labelled, unlabelled, weight) {
            Some(other) => loss.plus(&other.total),
            None => loss,
        })
    }

    fn loss_of_labels(&self, forward: Forward<'_>) -> Option<Loss> {
        self.loss(forward)
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let Settings { threshold, ramp_steps, .. } = self.settings;
        let rows = &scores.unlabelled[0]; // [B, C]
        let counts = self.frequencies.learn(scores.labelled.as_ref(), rows.size()[1], rows.device());
        let kept = kept(counts);
        let kept_unlabelled = 1.0 - (1.0 - &kept) * progress(scores.step, ramp_steps);
        let confident = |confidence: &Tensor| confidence.ge(threshold).to_kind(Kind::Float);
        let (confidence, class) = rows.max_dim(1, false); // [B], [B]
        let weight = confident(&confidence);
        let unbalanced = scores.heads.first().map(|logits| {
            let (confidence, class) = logits.softmax(1, Kind::Float).max_dim(1, false);
            [(CLASS, class), (WEIGHT, confident(&confidence))]
        });
        PseudoLabels {
            threshold: Some(Tensor::full([1], threshold, (Kind::Float, rows.device()))),
            further: unbalanced.is_some().then_some(WEIGHT),
            rows: unbalanced.into_iter().flatten().chain([(OWN, class.shallow_clone())]).collect(),
            constants: [(LABELLED, kept), (UNLABELLED, kept_unlabelled)].into(),
            ..PseudoLabels::soft(rows.shallow_clone(), confidence, class, weight)
        }
    }
}

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        save_tensors(&[&self.frequencies.counts])
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        load_tensors(state, [&mut self.frequencies.counts])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_kept_so_that_they_come_alike() {
        let list = |counts: &[f32]| Vec::<f32>::try_from(kept(&Tensor::from_slice(counts))).unwrap();
        assert_eq!(list(&[100.0, 50.0, 10.0]), [0.1, 0.2, 1.0]);
        assert_eq!(list(&[100.0, 0.0, 50.0]), [0.5, 1.0, 1.0], "a class without a sample does not count");
        assert_eq!(list(&[0.0, 0.0]), [1.0, 1.0]);
    }

    #[test]
    fn about_as_many_are_drawn() {
        let mut draws = sluicebox_core::rng::Randomness::new(3, 0).at(0, sluicebox_core::rng::Stage::Student);
        let each = |kept: f64| Tensor::full([1000], kept, tch::kind::FLOAT_CPU);
        let found = drawn(&each(0.1), &mut draws).sum(Kind::Float).double_value(&[]);
        assert!((70.0..130.0).contains(&found), "{found} of 1,000");
        assert_eq!(drawn(&each(1.0), &mut draws).sum(Kind::Float).double_value(&[]), 1000.0);
    }

    #[test]
    fn what_is_left_out_makes_losses_no_smaller() {
        let mut draws = sluicebox_core::rng::Randomness::new(3, 0).at(0, sluicebox_core::rng::Stage::Student);
        let each = |value: f64| Tensor::full([1000], value, tch::kind::FLOAT_CPU);
        let found = mean_of_drawn(&each(2.0), &each(0.1), &each(1.0), &mut draws).double_value(&[]);
        assert!((1.4..2.6).contains(&found), "{found}");
        let all = mean_of_drawn(&each(2.0), &each(1.0), &each(0.5), &mut draws).double_value(&[]);
        assert!((all - 2.0).abs() < 1e-5, "{all}");
        let none = mean_of_drawn(&each(2.0), &each(0.1), &each(0.0), &mut draws).double_value(&[]);
        assert_eq!(none, 0.0);
    }
}
