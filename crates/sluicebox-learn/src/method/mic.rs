//! Masked image consistency (Hoyer et al. 2023, §3.2): the class that the teacher gives to a whole image is the target
//! of a view of which random blocks are masked, so that the student learns to tell a class by what surrounds a part.
//! There is no threshold: the teacher's confidence weighs each sample.
//!
//! Defaults are those of the published runs for classification, not of their script's options: blocks of 64 pixels of 224,
//! of which 70 % are masked. Masked pixels have the mean of the batch, as in the paper, where samples are normalised and a
//! masked pixel is 0. What `views.strong` does comes before the mask (the paper: colours and blur).
//!
//! Departures: the paper adds this loss to adversarial training of domains, which is left out here; and its code weighs samples
//! in the first of two passes of the optimiser only, whose gradient is not the one applied.

use crate::augmentation::block_mask::{BLOCK, Blocks, RATIO};
use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, View, ViewRequest, stateless};
use crate::pseudo_labels::PseudoLabels;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;

/// Options of the method.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Side of a block, as a fraction of the image's shorter side.
    pub block: f64,
    /// Probability that a block is masked.
    pub ratio: f64,
    /// Whether the teacher's confidence weighs each sample; else all weigh 1.
    pub weighted: bool,
    /// λ: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { block: BLOCK, ratio: RATIO, weighted: true, unlabelled_weight: 1.0 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("block", self.block, 0.001..=1.0),
            ("ratio", self.ratio, 0.0..=1.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
        ])
    }
}

struct Mic(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(Mic(settings(spec)?)))
}

impl Method for Mic {
    fn views(&self) -> ViewRequest {
        let blocks = Blocks { block: self.0.block, ratio: self.0.ratio };
        ViewRequest { student: vec![View::Masked(blocks)], ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let weighted = self.0.weighted;
        stateless(move |scores: &Scores| {
            let (confidence, class) = scores.unlabelled[0].max_dim(1, false); // [B], [B]
            let weight = if weighted { confidence.copy() } else { confidence.ones_like() };
            PseudoLabels::hard(class, confidence, weight)
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)
    }
}
