//! Soft pseudo-labels of all samples, with mixup against the network's belief in its own mistakes
//! (Arazo et al. 2020, §3): the cross-entropy of the joint batch, mixed (§3.2, equations 5 and 6),
//! and two regularisers (§3.1): λ_p times the divergence of the mean prediction from classes alike,
//! and λ_e times the mean entropy of predictions.
//!
//! A minimum of labelled samples a batch (§3.2) is what `batch.labelled` gives: every step has
//! that many, the paper 16 of 100.
//!
//! Departures: the paper renews the pseudo-labels of a data set once an epoch. On a stream they are
//! what the teacher says of the weak view, and the student sees the strong one: what it was just
//! told of the same view would teach it little (the paper has one augmentation for all). Its 10
//! epochs of labelled samples only are the first `warm_up_steps` steps. There is no dropout. The
//! regularisers count by the part of the batch that passed the filter, all of it in the paper: where a
//! gate holds samples back, labels are not spoiled for nothing.

use super::range::outside;
use super::{Forward, Loss, Method, Mixing, Wanted};
use crate::data::{Judgement, Scores, Target};
use crate::error::Result;
use crate::model::Output;
use crate::registry::{Spec, settings};
use crate::student::loss::{cross_entropy, entropy};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Options of the method. Weights and α are the paper's (§4.1).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// α: samples are mixed by shares of Beta(α, α).
    pub alpha: f64,
    /// λ_p: what the divergence of the mean prediction from classes alike counts.
    pub prior_weight: f64,
    /// λ_e: what the entropy of predictions counts.
    pub entropy_weight: f64,
    /// Steps that only labelled samples teach.
    pub warm_up_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { alpha: 1.0, prior_weight: 0.8, entropy_weight: 0.4, warm_up_steps: 200 }
    }
}

impl crate::document::Settings for Settings {
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

/// The regularisers of a batch, before their factors: divergence from classes alike, and entropy.
/// `logits` `[N, C]`, `weight` `[N]` what each sample counts.
fn regularisers(logits: &Tensor, weight: &Tensor) -> (Tensor, Tensor) {
    let weight = weight / weight.sum(Kind::Float).clamp_min(1e-12);
    let mean = weight.matmul(&logits.softmax(1, Kind::Float)).clamp_min(1e-8); // [C]
    let alike = 1.0 / mean.size()[0] as f64;
    let divergence = -(mean.log() - alike.ln()).mean(Kind::Float);
    (divergence, entropy(logits).dot(&weight))
}

impl Method for Arazo {
    fn views(&self) -> Wanted {
        let mix = Some(Mixing { alpha: self.0.alpha, dominant: false });
        Wanted { mix, ..Wanted::default() }
    }

    fn judge(&mut self, scores: &Scores) -> Judgement {
        let rows = &scores.unlabelled[0];
        let (confidence, class) = rows.max_dim(1, false); // [B], [B]
        let teaches = scores.step >= self.0.warm_up_steps;
        let weight = confidence.full_like(f64::from(u8::from(teaches)));
        Judgement::soft(rows.shallow_clone(), confidence, class, weight)
    }

    /// One mean over the samples of the joint batch, as in the paper: the labelled samples' part is
    /// their number.
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
        let passed = forward.weight.sum(Kind::Float) / forward.batch as f64;
        let further = divergence * self.0.prior_weight + entropy * self.0.entropy_weight;
        Some(Loss { total: joint + further * passed, ..loss })
    }
}
