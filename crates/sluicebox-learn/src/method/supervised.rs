//! The baseline for every other method: cross-entropy on labelled samples. The teacher still scores
//! each sample, so that its accuracy on the stream can be reported.

use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest, stateless};
use crate::pseudo_labels::PseudoLabels;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;

/// Options of the method: none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {}

impl sluicebox_core::config::document::Settings for Settings {}

struct Supervised;

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    settings::<Settings>(spec)?;
    Ok(Box::new(Supervised))
}

impl Method for Supervised {
    fn views(&self) -> ViewRequest {
        ViewRequest { student: Vec::new(), ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        stateless(|scores: &Scores| PseudoLabels::rejected(&scores.unlabelled[0]))
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), None, 0.0)
    }
}
