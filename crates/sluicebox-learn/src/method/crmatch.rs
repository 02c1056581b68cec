//! CRMatch (Fan, Kukleva and Schiele 2021, §3; revisiting consistency regularisation): FixMatch whose features of weak and strong
//! views are pushed apart, so that they keep what was done to an image while the classes agree, and which tells by how many
//! quarters an image was turned.
//!
//! - The cosine of the two views' projections, where it is above 0, is part of the loss of every sample that was accepted; its
//!   gradient goes into both views (as in the code of USB's runs).
//! - A head tells the turns of a strong view. In the published code each image is turned all four ways, here one way each.
//!
//! The projection is of the network's features; there it is of the last feature map, whose places are kept.

use crate::augmentation::turn::quarters;
use crate::loss::{cross_entropy, unit};
use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, View, ViewRequest, stateless};
use crate::model::heads::{Base, Head, TURN, Width};
use crate::pseudo_labels::{PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Options of the method. The defaults are the authors'.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a pseudo-label.
    pub threshold: f64,
    /// λ: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
    /// Weight of the cosines of weak and strong views.
    pub apart_weight: f64,
    /// Weight of the cross-entropy of turns.
    pub turn_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.95, unlabelled_weight: 1.0, apart_weight: 1.0, turn_weight: 1.0 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("threshold", self.threshold, 0.0..=1.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
            ("apart_weight", self.apart_weight, 0.0..=1e6),
            ("turn_weight", self.turn_weight, 0.0..=1e6),
        ])
    }
}

const HEADS: &[Head] = &[
    Head {
        name: "relation",
        hidden: Width::Features,
        layers: 1,
        outputs: Width::Fixed(128),
        base: Base::Features,
    },
    TURN,
];
/// `[B]` f32: weight in the loss of turns, 1 for every sample.
const EVERY: &str = "every";

struct CrMatch(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(CrMatch(settings(spec)?)))
}

impl CrMatch {
    /// Returns the terms of cosines and of turns, a scalar; `None` where no sample was selected.
    fn relations(&self, forward: &Forward<'_>) -> Option<Tensor> {
        let [strong, weak, turned] = forward.strong.as_slice() else { return None };
        let product = unit(strong.heads.first()?) * unit(weak.heads.first()?);
        let cosine = product.sum_dim_intlist([1i64].as_slice(), false, Kind::Float).relu(); // [A]
        let turns = quarters(turned.logits.size()[0], turned.logits.device());
        let of_turns = cross_entropy(turned.heads.get(1)?, &Target::Hard(turns)); // [A]
        let of_turns = of_turns.dot(forward.rows.get(EVERY)?) / forward.batch;
        Some(forward.over_batch(&cosine) * self.0.apart_weight + of_turns * self.0.turn_weight)
    }
}

impl Method for CrMatch {
    fn views(&self) -> ViewRequest {
        let student = vec![View::Strong, View::Weak, View::Turned];
        ViewRequest { student, heads: HEADS, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let threshold = self.0.threshold;
        stateless(move |scores: &Scores| {
            let (confidence, class) = scores.unlabelled[0].max_dim(1, false); // [B], [B]
            let weight = confidence.ge(threshold).to_kind(Kind::Float);
            PseudoLabels {
                threshold: Some(Tensor::full([1], threshold, (Kind::Float, confidence.device()))),
                rows: [(EVERY, confidence.ones_like())].into(),
                further: Some(EVERY),
                ..PseudoLabels::hard(class, confidence, weight)
            }
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let loss = Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)?;
        Some(match self.relations(&forward) {
            Some(relations) => loss.plus(&relations),
            None => loss,
        })
    }
}
