//! Early-learning regularisation (Liu et al. 2020, §4.2, equation 6) of pseudo-labels, which are noisy
//! labels: FixMatch, plus λ times the mean of log(1 - ⟨p, t⟩), where p are the student's probabilities
//! and t earlier predictions for the sample. It preserves what the network learned early, before it
//! fitted wrong labels.
//!
//! One departure: the paper's t is a moving average of the outputs for each sample of a data set that
//! is visited many times (§4.3). On a stream each sample comes once, so t is the output of the teacher,
//! an average of earlier weights, for the weak view; `teacher.ema` is the paper's β. As in the paper, p
//! and t are kept away from 0 and 1.

use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest, stateless};
use crate::pseudo_labels::PseudoLabels;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Options of the method. The paper's λ for CIFAR-10 is 3 (appendix), where every label is present from
/// the start; pseudo-labels come from the network itself, and so large a λ freezes its first beliefs.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a pseudo-label.
    pub threshold: f64,
    /// Weight of the unlabelled loss, including its regulariser.
    pub unlabelled_weight: f64,
    /// λ: weight of the regulariser within the unlabelled loss.
    pub early_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.95, unlabelled_weight: 1.0, early_weight: 0.3 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("threshold", self.threshold, 0.0..=1.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
            ("early_weight", self.early_weight, 0.0..=1e6),
        ])
    }
}

/// Name of the entry of the pseudo-labels' `rows` with t.
const EARLIER: &str = "earlier";
/// Distance that p and t keep from 0 and 1.
const MARGIN: f64 = 1e-4;

struct Elr(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(Elr(settings(spec)?)))
}

impl Elr {
    /// Returns log(1 - ⟨p, t⟩) over the batch, a scalar; `None` where no sample was selected.
    fn early(forward: &Forward<'_>) -> Option<Tensor> {
        let earlier = forward.rows.get(EARLIER)?; // [A, C]
        let rows = forward.strong.first()?.logits.softmax(1, Kind::Float).clamp(MARGIN, 1.0 - MARGIN);
        let product = (rows * earlier).sum_dim_intlist([1i64].as_slice(), false, Kind::Float); // [A]
        let apart: Tensor = 1.0 - product;
        Some(forward.over_batch(&apart.log()))
    }
}

impl Method for Elr {
    fn views(&self) -> ViewRequest {
        ViewRequest::default()
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let threshold = self.0.threshold;
        stateless(move |scores: &Scores| {
            let rows = &scores.unlabelled[0]; // [B, C]
            let (confidence, class) = rows.max_dim(1, false); // [B], [B]
            let weight = confidence.ge(threshold).to_kind(Kind::Float);
            let threshold = Some(Tensor::full([1], threshold, (Kind::Float, rows.device())));
            let earlier = rows.clamp(MARGIN, 1.0 - MARGIN);
            let earlier = &earlier / earlier.sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
            PseudoLabels {
                threshold,
                rows: [(EARLIER, earlier)].into(),
                ..PseudoLabels::hard(class, confidence, weight)
            }
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let early = Self::early(&forward);
        let unlabelled = forward.unlabelled_loss();
        let unlabelled =
            unlabelled.zip(early).map(|(unlabelled, early)| unlabelled + early * self.0.early_weight);
        Loss::sum(forward.labelled_loss(), unlabelled, self.0.unlabelled_weight)
    }
}
