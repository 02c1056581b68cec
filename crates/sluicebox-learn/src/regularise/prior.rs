//! Prior matching (Tanaka et al. 2018, equation 4; Arazo et al. 2020, equation 3): the divergence
//! of the mean prediction of a step, labelled samples included, from the class prior p:
//! Σ_c p_c log(p_c / mean_c). It keeps pseudo-labels from collapsing into one class.

use crate::method::api::Forward;
use crate::pseudo_labels::Target;
use crate::regularise::api::OutputTerm;
use tch::{Kind, Tensor};

/// Keeps the logarithm finite for a class that is never predicted.
const LEAST: f64 = 1e-8;
/// Fraction of the labelled prior kept at each step.
const MEMORY: f64 = 0.99;

pub struct Prior {
    /// `[C]` f32, sums to 1.
    pub prior: Tensor,
    /// Whether the prior follows the classes of labelled samples.
    pub labelled: bool,
}

impl OutputTerm for Prior {
    fn loss(&mut self, forward: &Forward<'_>) -> Option<Tensor> {
        let mut rows = Vec::new();
        let mut weights = Vec::new();
        if let Some(labelled) = &forward.labelled {
            if self.labelled {
                let classes = Target::Hard(labelled.classes.shallow_clone()).rows(self.prior.size()[0]);
                let shares = classes.mean_dim([0i64].as_slice(), false, Kind::Float);
                self.prior = self.prior.lerp(&shares, 1.0 - MEMORY);
            }
            weights.push(labelled.classes.ones_like().to_kind(Kind::Float));
            rows.push(labelled.output.logits.softmax(1, Kind::Float));
        }
        for output in &forward.strong {
            weights.push(forward.weight.gt(0.0).to_kind(Kind::Float));
            rows.push(output.logits.softmax(1, Kind::Float));
        }
        let (rows, weights) = (Tensor::cat(&rows, 0), Tensor::cat(&weights, 0));
        let mean = rows.tr().mv(&weights) / weights.sum(Kind::Float).clamp_min(1.0); // [C]
        let ratio = self.prior.clamp_min(LEAST).log() - mean.clamp_min(LEAST).log();
        Some(self.prior.dot(&ratio))
    }

    fn state(&mut self) -> Option<&mut Tensor> {
        self.labelled.then_some(&mut self.prior)
    }
}
