//! ShrinkMatch (Yang et al. 2023): FixMatch with aligned, soft pseudo-labels; samples that are not
//! confident teach as well, in fewer classes (§3.2). The classes that rank second and below are
//! dropped, one after the other, until the likeliest one has a probability of at least τ among
//! those that are left. An auxiliary head, which only they train (§3.4), is to tell it from these.
//!
//! Such a loss counts by the sample's confidence, and all of them by the part of samples that was
//! confident of late (§3.3). Where only the likeliest class is left, there is nothing to learn.
//!
//! Pseudo-labels are aligned as in ReMixMatch (Berthelot et al. 2020, §3.1), with the classes
//! alike: each probability is divided by its mean over the last `aligned_steps` steps.
//!
//! Departures: the authors' code forgets the part of confident samples at each epoch, which the
//! paper does not say; here it is one average that starts as a plain mean. As in FixMatch, with
//! `teacher.ema = 0` the student judges, as in the paper.

use super::average::{load, save};
use super::range::outside;
use super::{Forward, Loss, Method, Wanted};
use crate::data::{Judgement, Scores, Target};
use crate::error::Result;
use crate::model::heads::{Head, Width};
use crate::registry::{Spec, settings};
use crate::student::recent::newest;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Options of the method. Defaults are the authors' for CIFAR-10.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a pseudo-label, and of the likeliest class in the shrunk space.
    pub threshold: f64,
    /// λ: what the unlabelled loss counts.
    pub unlabelled_weight: f64,
    /// What the loss in fewer classes counts.
    pub shrunk_weight: f64,
    /// Steps over whose mean probabilities are aligned. 0: they are not.
    pub aligned_steps: u64,
    /// Steps after which an average has forgotten two thirds.
    pub memory_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: 0.95,
            unlabelled_weight: 1.0,
            shrunk_weight: 1.0,
            aligned_steps: 32,
            memory_steps: 1000,
        }
    }
}

impl crate::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("threshold", self.threshold, 0.0..=1.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
            ("shrunk_weight", self.shrunk_weight, 0.0..=1e6),
            ("aligned_steps", self.aligned_steps as f64, 0.0..=4096.0),
            ("memory_steps", self.memory_steps as f64, 1.0..=1e9),
        ])
    }
}

const HEADS: &[Head] = &[Head {
    name: "auxiliary",
    hidden: Width::FeaturesOver(4),
    layers: 3,
    outputs: Width::Classes,
    detached: false,
}];
/// `[B, C]` f32: 1 where a class is left.
const LEFT: &str = "left";
/// `[B]` f32: confidence of those that teach in fewer classes; else 0.
const SHRUNK: &str = "shrunk";
/// The part of confident samples: a scalar.
const CONFIDENT: &str = "confident";

struct ShrinkMatch {
    settings: Settings,
    /// Mean probabilities of the last steps, the newest last: `[steps, C]`.
    means: Option<Tensor>,
    /// The part of confident samples, and the steps it is the average of: `[2]`.
    confident: Option<Tensor>,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(ShrinkMatch { settings: settings(spec)?, means: None, confident: None }))
}

/// Rows `[B, C]` whose sum becomes 1.
fn normalised(rows: &Tensor) -> Tensor {
    rows / rows.sum_dim_intlist([1i64].as_slice(), true, Kind::Float).clamp_min(1e-12)
}

/// Which classes are left of `rows` `[B, C]` when as few as possible are dropped from the second
/// rank on, so that the likeliest has a probability of at least `threshold`: `[B, C]` f32.
fn left(rows: &Tensor, threshold: f64) -> Tensor {
    let classes = rows.size()[1];
    let (sorted, order) = rows.sort(1, true);
    let first = sorted.narrow(1, 0, 1); // [B, 1]
    // What lies below each rank: the last k are summed, and 0 below the last rank.
    let below = sorted.flip([1i64].as_slice()).cumsum(1, Kind::Float).flip([1i64].as_slice()) - &sorted;
    let enough = (&first / (&first + below)).ge(threshold); // [B, C]: if ranks 2 to k+1 are dropped
    // A rank stays where the one before it was enough already; the first always does.
    let stays = Tensor::cat(&[first.ones_like().to_kind(Kind::Bool), enough.narrow(1, 0, classes - 1)], 1);
    rows.zeros_like().scatter(1, &order, &stays.to_kind(Kind::Float))
}

impl ShrinkMatch {
    /// Probabilities over their mean of the last steps, of sum 1.
    fn aligned(&mut self, rows: &Tensor) -> Tensor {
        if self.settings.aligned_steps == 0 {
            return rows.shallow_clone();
        }
        let mean = rows.mean_dim([0i64].as_slice(), true, Kind::Float); // [1, C]
        let means = match self.means.take() {
            Some(means) => newest(&means.to_device(rows.device()), &mean, self.settings.aligned_steps as i64),
            None => mean,
        };
        let means = self.means.insert(means);
        normalised(&(rows / means.mean_dim([0i64].as_slice(), true, Kind::Float).clamp_min(1e-6)))
    }

    /// Takes the step's part of confident samples into the average, and gives it: a scalar.
    fn confident(&mut self, weight: &Tensor) -> Tensor {
        let before = match self.confident.take() {
            Some(before) => before.to_device(weight.device()),
            None => Tensor::zeros([2], (Kind::Float, weight.device())),
        };
        let steps = (before.get(1) + 1.0).clamp_max(self.settings.memory_steps as f64);
        let average = before.get(0) + (weight.mean(Kind::Float) - before.get(0)) / &steps;
        self.confident = Some(Tensor::stack(&[&average, &steps], 0));
        average
    }

    /// The loss in fewer classes over the batch: a scalar. None where nothing was selected.
    fn shrunk(forward: &Forward<'_>) -> Option<Tensor> {
        let (left, shrunk) = (forward.rows.get(LEFT)?, forward.rows.get(SHRUNK)?);
        let logits = forward.strong.first()?.heads.first()?; // [A, C]
        let Target::Soft(rows) = &forward.target else { return None };
        let logits = logits.masked_fill(&left.eq(0.0), f64::NEG_INFINITY);
        let likeliest = rows.argmax(1, true); // [A, 1]
        let each = -logits.log_softmax(1, Kind::Float).gather(1, &likeliest, false).view(-1);
        Some(each.dot(shrunk) / forward.batch as f64 * forward.constants.get(CONFIDENT)?)
    }
}

impl Method for ShrinkMatch {
    fn views(&self) -> Wanted {
        Wanted { heads: HEADS, ..Wanted::default() }
    }

    fn judge(&mut self, scores: &Scores) -> Judgement {
        let rows = self.aligned(&scores.unlabelled[0]); // [B, C]
        let (confidence, class) = rows.max_dim(1, false); // [B], [B]
        let weight = confidence.ge(self.settings.threshold).to_kind(Kind::Float);
        let left = left(&rows, self.settings.threshold);
        let several = left.sum_dim_intlist([1i64].as_slice(), false, Kind::Float).gt(1.0);
        let shrunk = &confidence * (1.0 - &weight) * several.to_kind(Kind::Float);
        let threshold = Some(Tensor::full([1], self.settings.threshold, (Kind::Float, rows.device())));
        let confident = self.confident(&weight);
        Judgement {
            threshold,
            rows: [(LEFT, left), (SHRUNK, shrunk)].into(),
            further: Some(SHRUNK),
            constants: [(CONFIDENT, confident)].into(),
            ..Judgement::soft(rows, confidence, class, weight)
        }
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let Settings { unlabelled_weight, shrunk_weight, .. } = self.settings;
        let loss = Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), unlabelled_weight)?;
        Some(match Self::shrunk(&forward) {
            Some(shrunk) => loss.plus(&(shrunk * shrunk_weight)),
            None => loss,
        })
    }

    fn snapshot(&self) -> Vec<u8> {
        save(&[&self.means, &self.confident])
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        load(state, [&mut self.means, &mut self.confident])
    }
}
