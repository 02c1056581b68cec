//! Bidirectional copy-paste (Bai et al. 2023, §3.2): a box of an unlabelled image is copied into a labelled one, and a box of a
//! labelled one into an unlabelled one, so that both kinds are learned from in the same surroundings. The target is mixed by
//! area: the label, and α times the teacher's probabilities; it is not scaled to sum 1.
//!
//! A form for classes of what was made for segmentation. Departures that follow from it: one target per image instead of one
//! per pixel, and nothing of the largest connected part. Instead of a training on labelled images alone before, α rises over the
//! first `ramp_steps` steps: until then a box of an unlabelled image only hides what is below it.

use crate::loss::sharpened;
use crate::messages::Scores;
use crate::method::api::{
    Among, Forward, Loss, Method, Mixing, PseudoLabeller, View, ViewRequest, stateless,
};
use crate::method::ramp::progress;
use crate::pseudo_labels::PseudoLabels;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;

/// Options of the method.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// β: side of the box, as a fraction of the image's.
    pub side: f64,
    /// α: weight of unlabelled parts.
    pub unlabelled_part: f64,
    /// T: probabilities of unlabelled parts are taken to the power of 1/T. 0.01: nearly the likeliest class alone, as in the paper.
    pub temperature: f64,
    /// Steps over which α ramps up. 0: full weight from the start.
    pub ramp_steps: u64,
    /// λ: weight of the loss of unlabelled images with labelled boxes.
    pub unlabelled_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            side: 2.0 / 3.0,
            unlabelled_part: 0.5,
            temperature: 0.01,
            ramp_steps: 400,
            unlabelled_weight: 1.0,
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("side", self.side, 0.01..=1.0),
            ("unlabelled_part", self.unlabelled_part, 0.0..=1.0),
            ("temperature", self.temperature, 0.01..=100.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
        ])
    }
}

struct Bcp(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(Bcp(settings(spec)?)))
}

impl Method for Bcp {
    fn views(&self) -> ViewRequest {
        let among = Among::Across { side: self.0.side };
        let mix = Some(Mixing { alpha: 1.0, dominant: false, views: 1, among });
        ViewRequest { student: vec![View::Weak], mix, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let Settings { unlabelled_part, temperature, ramp_steps, .. } = self.0;
        stateless(move |scores: &Scores| {
            let rows = &scores.unlabelled[0];
            let (confidence, class) = rows.max_dim(1, false); // [B], [B]
            let every = confidence.ones_like();
            let part = unlabelled_part * progress(scores.step, ramp_steps);
            PseudoLabels::soft(sharpened(rows, temperature) * part, confidence, class, every)
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)
    }
}
