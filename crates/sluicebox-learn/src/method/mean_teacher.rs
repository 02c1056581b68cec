//! Mean Teacher (Tarvainen and Valpola 2017, §2): the student's probabilities for one view are to match
//! those of the moving average of its weights for another view. The loss is their mean squared
//! difference, over every sample.
//!
//! The average is the job's teacher: `teacher.ema` is the paper's α, and with 0 the method is the
//! Π-model (Laine and Aila 2017). The weight ramps up as exp(-5 (1 - t/T)²) over the first T steps
//! (appendix B).
//!
//! The paper has one augmentation for all samples: here the student sees unlabelled samples augmented
//! like labelled ones, by `views.labelled`.
//!
//! Departures: the teacher sees the weak view; labelled samples have no consistency cost, as in most
//! later comparisons; and the teacher's batch norm uses running statistics.

use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, View, ViewRequest, stateless};
use crate::method::ramp::soft;
use crate::pseudo_labels::Target;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::Tensor;

/// Options of the method. The weight is the paper's; its ramp has 40,000 steps, for far longer training.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Final weight of the consistency cost, which is a mean over classes.
    pub unlabelled_weight: f64,
    /// T: steps over which that weight ramps up. 0: full weight from the start.
    pub ramp_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { unlabelled_weight: 100.0, ramp_steps: 4_000 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6)])
    }
}

struct MeanTeacher(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(MeanTeacher(settings(spec)?)))
}

impl MeanTeacher {
    fn consistency(forward: &Forward<'_>) -> Option<Tensor> {
        let Target::Soft(rows) = &forward.target else { return None };
        Some(forward.squared_error(&forward.strong.first()?.logits, rows))
    }
}

impl Method for MeanTeacher {
    fn views(&self) -> ViewRequest {
        ViewRequest { student: vec![View::Labelled], ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let ramp_steps = self.0.ramp_steps;
        stateless(move |scores: &Scores| soft(scores, ramp_steps))
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), Self::consistency(&forward), self.0.unlabelled_weight)
    }
}
