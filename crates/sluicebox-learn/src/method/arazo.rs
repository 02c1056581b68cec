//! Soft pseudo-labels for all samples, with mixup against confirmation bias (Arazo et al. 2020, §3):
//! the cross-entropy of the mixed joint batch (§3.2, equations 5 and 6) and two regularisers (§3.1):
//! λ_p times the divergence of the mean prediction from a uniform one, and λ_e times the mean entropy
//! of predictions.
//!
//! The paper's minimum of labelled samples per batch (§3.2, 16 of 100) is `batch.labelled`: every step
//! has that many.
//!
//! Departures: the paper updates the pseudo-labels of a data set once per epoch. On a stream they are
//! the teacher's probabilities for the weak view, and the student sees the strong view: on the same
//! view it would learn little from them (the paper has one augmentation for all). The paper's 10 epochs
//! on labelled samples alone are the first `warm_up_steps` steps. There is no dropout. The regularisers
//! are weighted by the fraction of the batch that passed the filter (all of it in the paper), so that
//! they do not distort labelled samples needlessly where a gate rejects the others.

use crate::loss::{cross_entropy, entropy};
use crate::messages::Scores;
use crate::method::api::{Among, Forward, Loss, Method, Mixing, PseudoLabeller, ViewRequest, stateless};
use crate::model::api::Output;
use crate::pseudo_labels::{PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Options of the method. The weights and α are the paper's (§4.1).
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// α of the Beta(α, α) from which the shares of mixed samples are drawn.
    pub alpha: f64,
    /// λ_p: weight of the divergence of the mean prediction from a uniform one.
    pub prior_weight: f64,
    /// λ_e: weight of the entropy of predictions.
    pub entropy_weight: f64,
    /// Number of first steps that train on labelled samples alone.
    pub warm_up_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { alpha: 1.0, prior_weight: 0.8, entropy_weight: 0.4, warm_up_steps: 200 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("alpha", self.alpha, 1e-3..=1e3),
            ("prior_weight", self.prior_weight, 0.0..=1e6),
            ("entropy_weight", self.entropy_weight, 0.0..=1e6),
        ])
    }
}

struct Arazo(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(Arazo(settings(spec)?)))
}

/// Returns the regularisers before their factors: divergence from a uniform prediction, and entropy.
/// `logits` `[N, C]`, `weight` `[N]` of each sample.
fn regularisers(logits: &Tensor, weight: &Tensor) -> (Tensor, Tensor) {
    let weight = weight / weight.sum(Kind::Float).clamp_min(1e-12);
    let mean = weight.matmul(&logits.softmax(1, Kind::Float)).clamp_min(1e-8); // [C]
    let alike = 1.0 / mean.size()[0] as f64;
    let divergence = -(mean.log() - alike.ln()).mean(Kind::Float);
    (divergence, entropy(logits).dot(&weight))
}

impl Method for Arazo {
    fn views(&self) -> ViewRequest {
        let mix = Some(Mixing { alpha: self.0.alpha, dominant: false, views: 1, among: Among::All });
        ViewRequest { mix, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let warm_up_steps = self.0.warm_up_steps;
        stateless(move |scores: &Scores| {
            let rows = &scores.unlabelled[0];
            let (confidence, class) = rows.max_dim(1, false); // [B], [B]
            let teaches = scores.step >= warm_up_steps;
            let weight = confidence.full_like(f64::from(u8::from(teaches)));
            PseudoLabels::soft(rows.shallow_clone(), confidence, class, weight)
        })
    }

    /// One mean over the samples of the joint batch, as in the paper: labelled samples count by their number.
    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let own = |output: &Output, target: &Target| cross_entropy(&output.logits, target);
        let labelled = forward.labelled.as_ref().map(|part| own(&part.output, &part.target)); // [L]
        let unlabelled = forward.strong.first().map(|first| own(first, &forward.target)); // [A]
        let told = unlabelled.as_ref().map(|each| forward.over_batch(each));
        let loss = Loss::sum(labelled.as_ref().map(|each| each.mean(Kind::Float)), told, 0.0)?;
        let outputs = forward.labelled.iter().map(|part| &part.output).chain(forward.strong.first());
        let logits = Tensor::cat(&outputs.map(|output| &output.logits).collect::<Vec<_>>(), 0); // [L + A, C]
        let ones = labelled.as_ref().map(|each| each.detach().ones_like());
        let weights = ones.iter().chain(unlabelled.as_ref().map(|_| &forward.weight));
        let weights = Tensor::cat(&weights.collect::<Vec<_>>(), 0);
        let each = Tensor::cat(&labelled.iter().chain(&unlabelled).collect::<Vec<_>>(), 0);
        let joint = each.dot(&weights) / weights.sum(Kind::Float).clamp_min(1.0);
        let (divergence, entropy) = regularisers(&logits, &weights);
        let passed = forward.weight.sum(Kind::Float) / forward.batch;
        let further = divergence * self.0.prior_weight + entropy * self.0.entropy_weight;
        Some(Loss { total: joint + further * passed, ..loss })
    }
}
