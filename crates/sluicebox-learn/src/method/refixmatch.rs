//! ReFixMatch (Nguyen and Yang 2023, §3): FixMatch that also learns from the samples below the threshold. Their sharpened
//! probabilities are soft targets of the strong view's, sharpened alike: the divergence KL(q^(1/T) ‖ p^(1/T)), both scaled
//! to sum 1.
//!
//! The code of USB takes a softmax of probabilities where it means to sharpen them, so that its targets are nearly uniform;
//! here they are sharpened, as the paper says.

use crate::loss::{divergence, sharpened};
use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, stateless};
use crate::pseudo_labels::PseudoLabels;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Options of the method. The defaults are the paper's.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a hard pseudo-label; samples below it have soft ones.
    pub threshold: f64,
    /// T: soft targets are probabilities to the power of 1/T.
    pub temperature: f64,
    /// λ: weight of the loss of hard pseudo-labels.
    pub unlabelled_weight: f64,
    /// Weight of the divergence from soft pseudo-labels.
    pub divergence_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.95, temperature: 0.5, unlabelled_weight: 1.0, divergence_weight: 1.0 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("threshold", self.threshold, 0.0..=1.0),
            ("temperature", self.temperature, 0.01..=100.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
            ("divergence_weight", self.divergence_weight, 0.0..=1e6),
        ])
    }
}

/// `[B, C]` f32: sharpened probabilities.
const SHARP: &str = "sharp";
/// `[B]` f32: 1 below the threshold, else 0.
const BELOW: &str = "below";

struct ReFixMatch(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(ReFixMatch(settings(spec)?)))
}

impl ReFixMatch {
    /// Returns the divergence over samples below the threshold, divided by B; `None` where no sample was selected.
    fn soft(&self, forward: &Forward<'_>) -> Option<Tensor> {
        let (sharp, below) = (forward.rows.get(SHARP)?, forward.rows.get(BELOW)?);
        let logits = &forward.strong.first()?.logits / self.0.temperature;
        Some(divergence(sharp, &logits).dot(below) / forward.batch)
    }
}

impl Method for ReFixMatch {
    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let Settings { threshold, temperature, .. } = self.0;
        stateless(move |scores: &Scores| {
            let rows = &scores.unlabelled[0];
            let (confidence, class) = rows.max_dim(1, false); // [B], [B]
            let weight = confidence.ge(threshold).to_kind(Kind::Float);
            let below = 1.0 - &weight;
            PseudoLabels {
                threshold: Some(Tensor::full([1], threshold, (Kind::Float, rows.device()))),
                rows: [(SHARP, sharpened(rows, temperature)), (BELOW, below)].into(),
                further: Some(BELOW),
                ..PseudoLabels::hard(class, confidence, weight)
            }
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let loss = Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)?;
        Some(match self.soft(&forward) {
            Some(soft) => loss.plus(&(soft * self.0.divergence_weight)),
            None => loss,
        })
    }
}
