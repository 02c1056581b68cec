//! Interpolation consistency training (Verma et al. 2019, §2): the student's probabilities for a mixture of two unlabelled
//! samples are to be the mixture of the teacher's probabilities for each. The loss is their mean squared difference.
//!
//! Probabilities are mixed, as in the paper (its code mixes logits), and each sample has its own share, at least one half of it
//! its own, as in the code of ReMixMatch. The weight ramps up as exp(-5 (1 - t/T)²).
//!
//! Departures: the student's mixtures are of strong views (weak ones in the paper), and the ramp takes longer than the 400 steps of
//! a job as short as `pipelines/digits.toml`: with both as in the paper, the weight outgrew a teacher that knew little, and one of
//! three seeds fell below `supervised`.

use crate::messages::Scores;
use crate::method::api::{
    Among, Forward, Loss, Method, Mixing, PseudoLabeller, View, ViewRequest, stateless,
};
use crate::method::ramp::soft;
use crate::pseudo_labels::Target;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::Tensor;

/// Options of the method. The defaults are those of the code of ReMixMatch, but for the ramp.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// α of the Beta(α, α) from which shares are drawn.
    pub alpha: f64,
    /// Final weight of the consistency cost, which is a mean over classes.
    pub unlabelled_weight: f64,
    /// T: steps over which that weight ramps up. 0: full weight from the start.
    pub ramp_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { alpha: 0.5, unlabelled_weight: 50.0, ramp_steps: 2000 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("alpha", self.alpha, 1e-3..=1e3),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
        ])
    }
}

struct Ict(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(Ict(settings(spec)?)))
}

/// Returns the consistency cost, a scalar; `None` where no sample was selected.
fn consistency(forward: &Forward<'_>) -> Option<Tensor> {
    let Target::Soft(rows) = &forward.target else { return None };
    Some(forward.squared_error(&forward.strong.first()?.logits, rows))
}

impl Method for Ict {
    fn views(&self) -> ViewRequest {
        let mix = Some(Mixing { alpha: self.0.alpha, dominant: true, views: 1, among: Among::Views });
        ViewRequest { student: vec![View::Strong], mix, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let ramp_steps = self.0.ramp_steps;
        stateless(move |scores: &Scores| soft(scores, ramp_steps))
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), consistency(&forward), self.0.unlabelled_weight)
    }
}
