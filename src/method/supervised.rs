//! The baseline that every other method must beat: cross-entropy on labelled samples. The
//! teacher still judges each sample, so that its accuracy on the stream can be told.

use super::{Forward, Loss, Method, Wanted};
use crate::data::{Judgement, Scores, Target};
use crate::error::Result;
use crate::registry::{Spec, settings};
use crate::student::loss::cross_entropy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::Tensor;

/// Options of the method: none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {}

impl crate::document::Settings for Settings {}

struct Supervised;

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    settings::<Settings>(spec)?;
    Ok(Box::new(Supervised))
}

impl Method for Supervised {
    fn views(&self) -> Wanted {
        Wanted { weak: 1, strong: 0, labelled_scores: false, features: false, standing: false }
    }

    fn judge(&mut self, scores: &Scores) -> Judgement {
        let (confidence, class) = scores.unlabelled[0].max_dim(1, false);
        let weight = confidence.zeros_like();
        let target = Target::Hard(class.shallow_clone());
        let (confident, threshold, aux) = (None, None, BTreeMap::new());
        Judgement { class, confidence, target, weight, confident, threshold, aux }
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let (output, classes) = forward.labelled?;
        let total = cross_entropy(&output.logits, classes);
        let unlabelled = Tensor::zeros_like(&total.detach());
        Some(Loss { labelled: total.detach(), unlabelled, total })
    }
}
