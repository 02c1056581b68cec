//! FixMatch (Sohn et al. 2020, §2.2, equations 3 and 4): where the weak view of a sample is classified
//! with a probability of at least τ, that class is the target of its strong view.
//!
//! The job chooses which network makes the pseudo-labels: with `teacher.ema = 0` the student, as in the
//! paper; else the moving average of the student's weights, as in Mean Teacher (Tarvainen and Valpola 2017).
//!
//! One departure, unless `filter.mode = "mask"`: the student's batch norm sees labelled samples and
//! accepted strong views, but not the weak views and the rejected samples.

use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest, stateless};
use crate::pseudo_labels::PseudoLabels;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use std::cell::OnceCell;
use tch::{Kind, Tensor};

/// Options of the method. The defaults are the paper's (§4, table 4).
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a pseudo-label.
    pub threshold: f64,
    /// λ: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.95, unlabelled_weight: 1.0 }
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

/// The method.
pub struct FixMatch(pub Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(FixMatch(settings(spec)?)))
}

impl Method for FixMatch {
    fn views(&self) -> ViewRequest {
        ViewRequest::default()
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let threshold = self.0.threshold;
        let reported = OnceCell::new();
        stateless(move |scores: &Scores| {
            let (confidence, class) = scores.unlabelled[0].max_dim(1, false); // [B], [B]
            let weight = confidence.ge(threshold).to_kind(Kind::Float);
            let reported =
                reported.get_or_init(|| Tensor::full([1], threshold, (Kind::Float, confidence.device())));
            PseudoLabels {
                threshold: Some(reported.shallow_clone()),
                ..PseudoLabels::hard(class, confidence, weight)
            }
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)
    }
}
