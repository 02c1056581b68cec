//! Cross pseudo supervision (Chen et al. 2021, §3): two networks that started differently, each of which learns from the
//! classes that the other one predicts. They are wrong in different places, so that a wrong class is less often confirmed by
//! the one that made it. The first one answers. How often they disagree is in the report, and of each answer it is told.
//!
//! Departures, since few labels would make both confirm noise: pseudo-labels are those of the two teachers for a weak view, of
//! which only confident ones count, and are learned from a strong view (the paper: of the students, for the same view, without
//! a threshold: `threshold = 0`). Labelled samples have their labels only. The weight is that of the paper for Pascal VOC.

use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest, stateless};
use crate::method::cross;
use crate::model::heads::TWIN;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::Kind;

/// Options of the method.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a pseudo-label, of either network.
    pub threshold: f64,
    /// λ: weight of the unlabelled losses.
    pub unlabelled_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.95, unlabelled_weight: 1.5 }
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

struct Cps(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(Cps(settings(spec)?)))
}

impl Method for Cps {
    fn views(&self) -> ViewRequest {
        ViewRequest { heads: &[TWIN], ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let threshold = self.0.threshold;
        stateless(move |scores: &Scores| cross::pseudo_labels(scores, threshold))
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let labelled = cross::labelled(&forward).map(|[own, twin]| (own + twin).mean(Kind::Float));
        Loss::sum(labelled, cross::unlabelled(&forward), self.0.unlabelled_weight)
    }

    fn loss_of_labels(&self, forward: Forward<'_>) -> Option<Loss> {
        self.loss(forward)
    }
}
