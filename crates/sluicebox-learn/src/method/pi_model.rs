//! Π-model (Laine and Aila 2017, §2.1): the student's probabilities for two views of a sample, both made in the same step,
//! are to be equal. The loss is their mean squared difference over every sample; as in later comparisons (Oliver et al. 2018)
//! the gradient stops at the first view. The weight ramps up over `ramp_steps` steps. The paper has one augmentation for all
//! samples: here both views are made like those of labelled samples, by `views.labelled`.
//!
//! Pseudo-labels are the teacher's, for the report only: nothing is learned from them. With `mean-teacher` the teacher's
//! probabilities take the place of the first view's.
//!
//! Departure: batch norm sees both views and the labelled samples at once.

use crate::method::api::{Forward, Loss, Method, PseudoLabeller, View, ViewRequest};
use crate::method::ramp::for_the_report;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Options of the method. The ramp has 400 steps, for short streams. The weight was chosen on digits with 40 labels, seeds 0 and 1
/// (10, as Oliver et al. have it: 95.7 %; 30: 96.9).
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Final weight of the consistency cost, which is a mean over classes.
    pub unlabelled_weight: f64,
    /// Steps over which that weight ramps up. 0: full weight from the start.
    pub ramp_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { unlabelled_weight: 30.0, ramp_steps: 400 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6)])
    }
}

struct PiModel(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(PiModel(settings(spec)?)))
}

/// Returns the consistency cost, a scalar; `None` where no sample was selected.
fn consistency(forward: &Forward<'_>) -> Option<Tensor> {
    let [first, second] = forward.strong.as_slice() else { return None };
    let target = first.logits.softmax(1, Kind::Float).detach(); // [A, C]
    Some(forward.squared_error(&second.logits, &target))
}

impl Method for PiModel {
    fn views(&self) -> ViewRequest {
        ViewRequest { student: vec![View::Labelled, View::Labelled], ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        for_the_report(self.0.ramp_steps)
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), consistency(&forward), self.0.unlabelled_weight)
    }
}
