//! Pseudo-Label (Lee 2013): the likeliest class of an unlabelled sample is used as its label, with a
//! weight that can ramp up over the first steps (§2.4).
//!
//! Lee uses every sample; here, by default, only those with a probability of at least `threshold`
//! count, as where the method is compared with later ones (Sohn et al. 2020, §4), and with full weight
//! from the start. Lee's own settings are `threshold = 0`, `unlabelled_weight = 3`, `ramp_after = 100`
//! and `ramp_steps = 500`.
//!
//! Departures: student and teacher see two different views of the weak policy, not the same one; the
//! student's batch norm sees labelled and accepted samples together. With `teacher.ema = 0` the student
//! makes the pseudo-labels, as in the paper.

use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, View, ViewRequest, stateless};
use crate::method::ramp::progress;
use crate::pseudo_labels::PseudoLabels;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Options of the method.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Least probability of a pseudo-label.
    pub threshold: f64,
    /// α_f: final weight of the unlabelled loss.
    pub unlabelled_weight: f64,
    /// T1: first steps, in which the weight is 0.
    pub ramp_after: u64,
    /// T2 - T1: steps after those, over which the weight rises linearly.
    pub ramp_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.95, unlabelled_weight: 1.0, ramp_after: 0, ramp_steps: 0 }
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

struct PseudoLabel(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(PseudoLabel(settings(spec)?)))
}

impl Method for PseudoLabel {
    fn views(&self) -> ViewRequest {
        ViewRequest { student: vec![View::Weak], ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let Settings { threshold, ramp_after, ramp_steps, .. } = self.0;
        stateless(move |scores: &Scores| {
            let (confidence, class) = scores.unlabelled[0].max_dim(1, false); // [B], [B]
            let ramp = match scores.step.checked_sub(ramp_after) {
                Some(step) => progress(step, ramp_steps),
                None => 0.0,
            };
            let weight = confidence.ge(threshold).to_kind(Kind::Float) * ramp;
            let threshold = Some(Tensor::full([1], threshold, (Kind::Float, confidence.device())));
            PseudoLabels { threshold, ..PseudoLabels::hard(class, confidence, weight) }
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)
    }
}
