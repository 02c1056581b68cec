//! Co-teaching (Han et al. 2018, algorithm 1): for labels of which some are wrong. Of two networks that started differently,
//! each takes the labelled samples of least loss as right, and the other one learns from these. They forget different
//! samples, so that neither confirms its own mistakes. How many are left out grows to `forget` over `ramp_steps` steps: at first
//! a network has not memorised a wrong label yet.
//!
//! The paper has labelled samples only. Here each network also learns from the classes that the other one's teacher is sure of,
//! as in `cps` (`unlabelled_weight = 0`: not at all). The first one answers.

use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest, stateless};
use crate::method::cross;
use crate::method::ramp::progress;
use crate::model::heads::TWIN;
use crate::pseudo_labels::PseudoLabels;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Options of the method. The defaults suit labels of which one in five is wrong.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: final fraction of the labelled samples that are left out: about that of wrong labels.
    pub forget: f64,
    /// Steps over which that fraction grows from 0. 0: all of it from the start.
    pub ramp_steps: u64,
    /// Least probability of a pseudo-label, of either network.
    pub threshold: f64,
    /// λ: weight of the unlabelled losses.
    pub unlabelled_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { forget: 0.2, ramp_steps: 400, threshold: 0.95, unlabelled_weight: 1.0 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("forget", self.forget, 0.0..=0.9),
            ("threshold", self.threshold, 0.0..=1.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
        ])
    }
}

/// Scalar f32: fraction of the labelled samples that are learned from.
const KEPT: &str = "kept";

struct CoTeaching(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(CoTeaching(settings(spec)?)))
}

/// Returns which samples have the least losses `[L]`: `[L]` f32, 1 for the fraction `kept` of them, rounded up.
fn least(losses: &Tensor, kept: &Tensor) -> Tensor {
    let ranks = losses.argsort(0, false).argsort(0, false).to_kind(Kind::Float); // [L], from 0
    ranks.lt_tensor(&(kept * losses.size()[0])).to_kind(Kind::Float)
}

/// Returns the sum of both networks' losses over the samples that the other one takes as right.
fn exchanged([own, twin]: [Tensor; 2], kept: Option<&Tensor>) -> Tensor {
    let Some(kept) = kept else { return (own + twin).mean(Kind::Float) };
    let mean = |losses: &Tensor, judge: &Tensor| {
        let right = least(&judge.detach(), kept);
        losses.dot(&right) / right.sum(Kind::Float).clamp_min(1.0)
    };
    mean(&own, &twin) + mean(&twin, &own)
}

impl Method for CoTeaching {
    fn views(&self) -> ViewRequest {
        ViewRequest { heads: &[TWIN], ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let Settings { forget, ramp_steps, threshold, .. } = self.0;
        stateless(move |scores: &Scores| {
            let kept = 1.0 - forget * progress(scores.step, ramp_steps);
            let kept = Tensor::full([], kept, (Kind::Float, scores.unlabelled[0].device()));
            let constants = [(KEPT, kept)].into();
            PseudoLabels { constants, ..cross::pseudo_labels(scores, threshold) }
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let kept = forward.constants.get(KEPT);
        let labelled = cross::labelled(&forward).map(|losses| exchanged(losses, kept));
        Loss::sum(labelled, cross::unlabelled(&forward), self.0.unlabelled_weight)
    }

    fn loss_of_labels(&self, forward: Forward<'_>) -> Option<Loss> {
        self.loss(forward)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_network_learns_from_what_the_other_finds_easy() {
        let losses = |values: [f32; 4]| Tensor::from_slice(&values).set_requires_grad(true);
        let (own, twin) = (losses([1.0, 2.0, 3.0, 4.0]), losses([0.8, 0.1, 0.2, 0.9]));
        let half = Tensor::from(0.5f32);
        // The twin finds the second and third easy, the first network the first and second.
        let found = exchanged([own.shallow_clone(), twin.shallow_clone()], Some(&half));
        assert!((found.double_value(&[]) - (2.5 + 0.45)).abs() < 1e-6);
        found.backward();
        let gradient = |losses: &Tensor| Vec::<f32>::try_from(losses.grad()).unwrap();
        assert_eq!(gradient(&own), [0.0, 0.5, 0.5, 0.0]);
        assert_eq!(gradient(&twin), [0.5, 0.5, 0.0, 0.0]);
        let all = exchanged([losses([1.0, 2.0, 3.0, 4.0]), losses([0.8, 0.1, 0.2, 0.9])], None);
        assert!((all.double_value(&[]) - (2.5 + 0.5)).abs() < 1e-6);
    }
}
