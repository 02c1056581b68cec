//! Virtual adversarial training (Miyato et al. 2018, §3): the student's probabilities for a view are to stay the same where
//! the view is moved into the direction in which they change most. It needs no augmentations, so that it suits tables.
//!
//! The paper's length of the move is one number for a data set: 6 for 3,072 values of pixels from -1 to 1, which is 0.108
//! for each value. Here it is `deviations` standard deviations of the step's samples for each value, so that one default
//! suits samples of any size and scale. The paper's term of entropy is `regularise.entropy` (0.06 there).
//!
//! Pseudo-labels are the teacher's, for the report only: nothing is learned from them.

use crate::loss::divergence;
use crate::method::api::{Adversary, Forward, Loss, Method, PseudoLabeller, View, ViewRequest};
use crate::method::ramp::for_the_report;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Options of the method.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// ε: length of the move, in standard deviations of the samples for each of their values.
    pub deviations: f64,
    /// α: final weight of the divergence.
    pub unlabelled_weight: f64,
    /// Steps over which that weight ramps up. 0: full weight from the start.
    pub ramp_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { deviations: 0.2, unlabelled_weight: 1.0, ramp_steps: 0 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("deviations", self.deviations, 1e-6..=1e3),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
        ])
    }
}

struct Vat(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(Vat(settings(spec)?)))
}

/// Returns the divergence between a view and the moved one, a scalar; `None` where no sample was selected.
fn smoothness(forward: &Forward<'_>) -> Option<Tensor> {
    let [view, moved] = forward.strong.as_slice() else { return None };
    let rows = view.logits.softmax(1, Kind::Float).detach(); // [A, C]
    Some(forward.over_batch(&divergence(&rows, &moved.logits)))
}

impl Method for Vat {
    fn views(&self) -> ViewRequest {
        let adversary = Some(Adversary { deviations: self.0.deviations });
        ViewRequest { student: vec![View::Weak], adversary, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        for_the_report(self.0.ramp_steps)
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), smoothness(&forward), self.0.unlabelled_weight)
    }
}
