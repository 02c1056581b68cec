//! DeFixMatch (Schmutz, Humbert and Mattei 2023, §3): FixMatch whose unlabelled loss is corrected by the same loss of labelled
//! samples, as if they had no label: ½ (CE(weak) + CE(strong)) + λ (L_u(unlabelled) - L_u(labelled)). Its mean is the risk that
//! would be minimised if all samples had labels, so that unlabelled samples cannot do harm, as long as labelled ones are drawn
//! like the stream's. Under drift they are not.
//!
//! λ is at most ½: beyond it the loss of a labelled strong view has no lower bound where its pseudo-label is its label. (The code
//! of USB has 1 by default, and ½ in its settings.)
//!
//! The weak view of labelled samples is that of `views.labelled`. As in FixMatch, the teacher makes the pseudo-labels.

use crate::loss::cross_entropy;
use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, View, ViewRequest, stateless};
use crate::pseudo_labels::{JudgedLabels, PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Options of the method. The defaults are those of USB.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a pseudo-label.
    pub threshold: f64,
    /// λ: weight of the unlabelled loss and of what corrects it, at most 0.5.
    pub unlabelled_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.95, unlabelled_weight: 0.5 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("threshold", self.threshold, 0.0..=1.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=0.5),
        ])
    }
}

/// `[L]` i64 and f32: class and weight of the pseudo-labels of labelled samples.
const CLASS: &str = "class";
const WEIGHT: &str = "weight";

struct DeFixMatch(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(DeFixMatch(settings(spec)?)))
}

/// Returns the unlabelled loss of labelled samples, a scalar; `None` without any that the teacher scored.
fn of_labelled(forward: &Forward<'_>) -> Option<Tensor> {
    let labelled = forward.labelled.as_ref()?;
    let (class, weight) = (labelled.rows.get(CLASS)?, labelled.rows.get(WEIGHT)?);
    let each = cross_entropy(&labelled.further.first()?.logits, &Target::Hard(class.shallow_clone()));
    Some(labelled.mean(&(each * weight)))
}

impl Method for DeFixMatch {
    fn views(&self) -> ViewRequest {
        ViewRequest { labelled: vec![View::Strong], labelled_scores: true, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let threshold = self.0.threshold;
        stateless(move |scores: &Scores| {
            let judged = |rows: &Tensor| {
                let (confidence, class) = rows.max_dim(1, false);
                let weight = confidence.ge(threshold).to_kind(Kind::Float);
                (confidence, class, weight)
            };
            let labelled = scores.labelled.as_ref().map(|labelled| {
                let (_, class, weight) = judged(&labelled.probabilities);
                let rows = [(CLASS, class), (WEIGHT, weight)].into();
                JudgedLabels { rows, ..JudgedLabels::as_given(&labelled.classes) }
            });
            let (confidence, class, weight) = judged(&scores.unlabelled[0]); // [B] each
            let threshold = Some(Tensor::full([1], threshold, (Kind::Float, confidence.device())));
            PseudoLabels { threshold, labelled, ..PseudoLabels::hard(class, confidence, weight) }
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let unlabelled = match (forward.unlabelled_loss(), of_labelled(&forward)) {
            (Some(unlabelled), Some(labelled)) => Some(unlabelled - labelled),
            // Where nothing passed, the unlabelled loss is 0.
            (None, Some(labelled)) => Some(-labelled),
            (unlabelled, None) => unlabelled,
        };
        Loss::sum(forward.labelled_loss_of_views(), unlabelled, self.0.unlabelled_weight)
    }
}
