//! Bidirectional copy-paste (Bai et al. 2023, §3.2): a box of an unlabelled image is copied into a labelled one, and a box of a
//! labelled one into an unlabelled one, so that both kinds are learned from in the same surroundings. The target is mixed by
//! area: the label, and α times the teacher's probabilities; it is not scaled to sum 1.
//!
//! A form for classes of what was made for segmentation. Departures that follow from it: one target per image instead of one
//! per pixel, probabilities instead of the likeliest class, and nothing of the largest connected part. There is no training on
//! labelled samples alone before; `batch.warmup_steps` is one.

use crate::messages::Scores;
use crate::method::api::{
    Among, Forward, Loss, Method, Mixing, PseudoLabeller, View, ViewRequest, stateless,
};
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
    /// λ: weight of the loss of unlabelled images with labelled boxes.
    pub unlabelled_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { side: 2.0 / 3.0, unlabelled_part: 0.5, unlabelled_weight: 1.0 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("side", self.side, 0.01..=1.0),
            ("unlabelled_part", self.unlabelled_part, 0.0..=1.0),
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
        let part = self.0.unlabelled_part;
        stateless(move |scores: &Scores| {
            let rows = &scores.unlabelled[0];
            let (confidence, class) = rows.max_dim(1, false); // [B], [B]
            let every = confidence.ones_like();
            PseudoLabels::soft(rows * part, confidence, class, every)
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)
    }
}
