//! What methods of two networks have in common: each learns from the classes that the other one's teacher is sure of.

use crate::loss::cross_entropy;
use crate::messages::Scores;
use crate::method::api::Forward;
use crate::pseudo_labels::{PseudoLabels, Target};
use tch::{Kind, Tensor};

/// `[B]` i64 and f32: class and weight of the first network's pseudo-labels, for the second one.
const CLASS: &str = "class";
const WEIGHT: &str = "twin";

/// Returns the second network's confident classes as pseudo-labels for the first one, and beside them those of the first for
/// the second, of which `threshold` is the least probability.
pub fn pseudo_labels(scores: &Scores, threshold: f64) -> PseudoLabels {
    let judged = |rows: &Tensor| {
        let (confidence, class) = rows.max_dim(1, false); // [B], [B]
        let weight = confidence.ge(threshold).to_kind(Kind::Float);
        (class, confidence, weight)
    };
    let (own_class, own_confidence, own_weight) = judged(&scores.unlabelled[0]);
    let (class, confidence, weight) = match scores.heads.first() {
        Some(logits) => judged(&logits.softmax(1, Kind::Float)),
        None => (own_class.shallow_clone(), own_confidence, own_weight.shallow_clone()),
    };
    PseudoLabels {
        threshold: Some(Tensor::full([1], threshold, (Kind::Float, class.device()))),
        rows: [(CLASS, own_class), (WEIGHT, own_weight)].into(),
        further: Some(WEIGHT),
        ..PseudoLabels::hard(class, confidence, weight)
    }
}

/// Returns the cross-entropies of both networks, each against the other's classes, summed and divided by B: a scalar. `None`
/// where no sample was selected.
pub fn unlabelled(forward: &Forward<'_>) -> Option<Tensor> {
    let classes = forward.rows.get(CLASS)?.shallow_clone();
    let twin = cross_entropy(forward.strong.first()?.heads.first()?, &Target::Hard(classes));
    let twin = twin.dot(forward.rows.get(WEIGHT)?) / forward.batch;
    Some(forward.unlabelled_loss()? + twin)
}

/// Returns the cross-entropies `[L]` of the labelled samples in both networks; `None` without any.
pub fn labelled(forward: &Forward<'_>) -> Option<[Tensor; 2]> {
    let labelled = forward.labelled.as_ref()?;
    let twin = labelled.output.heads.first()?;
    Some([&labelled.output.logits, twin].map(|logits| cross_entropy(logits, &labelled.target)))
}
