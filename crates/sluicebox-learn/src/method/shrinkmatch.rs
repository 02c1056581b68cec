//! ShrinkMatch (Yang et al. 2023): FixMatch with aligned, soft pseudo-labels, which also learns from
//! samples that are not confident, over fewer classes (§3.2). Classes are dropped, one after the other
//! from the second rank on, until the likeliest one has a probability of at least τ among those that
//! are left. An auxiliary head, trained only by these samples (§3.4), is to tell that class from the
//! others left.
//!
//! This shrunk loss is weighted by the sample's confidence, and overall by the recent fraction of
//! confident samples (§3.3). Where only the likeliest class is left, there is nothing to learn.
//!
//! Pseudo-labels are aligned as in ReMixMatch (Berthelot et al. 2020, §3.1), with a uniform class
//! prior: each probability is divided by its mean over the last `aligned_steps` steps.
//!
//! Departures: the authors' code resets the fraction of confident samples at each epoch, which the
//! paper does not mention; here it is one average that starts as a plain mean. As in FixMatch, with
//! `teacher.ema = 0` the student makes the pseudo-labels, as in the paper.

use crate::messages::Scores;
use crate::method::alignment::Alignment;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest};
use crate::method::average::{load_tensors, save_tensors};
use crate::model::heads::{Base, Head, Width};
use crate::pseudo_labels::{PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::Stateful;
use tch::{Kind, Tensor};

/// Options of the method. The defaults are the authors' for CIFAR-10.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: least probability of a pseudo-label, and of the likeliest class in the shrunk space.
    pub threshold: f64,
    /// λ: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
    /// Weight of the loss over fewer classes.
    pub shrunk_weight: f64,
    /// Number of steps over which probabilities are averaged for alignment. 0: no alignment.
    pub aligned_steps: u64,
    /// Time constant, in steps, of the average fraction of confident samples.
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

impl sluicebox_core::config::document::Settings for Settings {
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
    base: Base::Features,
}];
/// `[B, C]` f32: 1 where a class is left, else 0.
const LEFT: &str = "left";
/// `[B]` f32: weight in the loss over fewer classes: the confidence where the sample is in it, else 0.
const SHRUNK: &str = "shrunk";
/// Average fraction of confident samples: a scalar.
const CONFIDENT: &str = "confident";

struct ShrinkMatch(Settings);

/// Averages of the teacher's scores.
struct Labeller {
    settings: Settings,
    alignment: Alignment,
    /// `[2]`: average fraction of confident samples, and the number of steps averaged.
    confident: Option<Tensor>,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(ShrinkMatch(settings(spec)?)))
}

/// Returns the classes left of `rows` `[B, C]` when as few as possible are dropped, from the second
/// rank on, so that the likeliest has a probability of at least `threshold`: `[B, C]` f32.
fn left(rows: &Tensor, threshold: f64) -> Tensor {
    let classes = rows.size()[1];
    let (sorted, order) = rows.sort(1, true);
    let first = sorted.narrow(1, 0, 1); // [B, 1]
    // Sum of the probabilities below each rank: 0 below the last one.
    let below = sorted.flip([1i64].as_slice()).cumsum(1, Kind::Float).flip([1i64].as_slice()) - &sorted;
    let enough = (&first / (&first + below)).ge(threshold); // [B, C]: if ranks 2 to k+1 are dropped
    // A rank stays if dropping up to the rank before it was already enough; the first always stays.
    let stays = Tensor::cat(&[first.ones_like().to_kind(Kind::Bool), enough.narrow(1, 0, classes - 1)], 1);
    rows.zeros_like().scatter(1, &order, &stays.to_kind(Kind::Float))
}

impl Labeller {
    /// Adds the step's fraction of confident samples to the average and returns it: a scalar.
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
}

impl ShrinkMatch {
    /// Returns the loss over fewer classes, a scalar; `None` where no sample was selected.
    fn shrunk(forward: &Forward<'_>) -> Option<Tensor> {
        let (left, shrunk) = (forward.rows.get(LEFT)?, forward.rows.get(SHRUNK)?);
        let logits = forward.strong.first()?.heads.first()?; // [A, C]
        let Target::Soft(rows) = &forward.target else { return None };
        let logits = logits.masked_fill(&left.eq(0.0), f64::NEG_INFINITY);
        let likeliest = rows.argmax(1, true); // [A, 1]
        let each = -logits.log_softmax(1, Kind::Float).gather(1, &likeliest, false).view(-1);
        Some(each.dot(shrunk) / forward.batch * forward.constants.get(CONFIDENT)?)
    }
}

impl Method for ShrinkMatch {
    fn views(&self) -> ViewRequest {
        ViewRequest { heads: HEADS, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        Box::new(Labeller {
            settings: self.0.clone(),
            alignment: Alignment::new(self.0.aligned_steps),
            confident: None,
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let Settings { unlabelled_weight, shrunk_weight, .. } = self.0;
        let loss = Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), unlabelled_weight)?;
        Some(match Self::shrunk(&forward) {
            Some(shrunk) => loss.plus(&(shrunk * shrunk_weight)),
            None => loss,
        })
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let rows = self.alignment.aligned(&scores.unlabelled[0]); // [B, C]
        let (confidence, class) = rows.max_dim(1, false); // [B], [B]
        let weight = confidence.ge(self.settings.threshold).to_kind(Kind::Float);
        let left = left(&rows, self.settings.threshold);
        let several = left.sum_dim_intlist([1i64].as_slice(), false, Kind::Float).gt(1.0);
        let shrunk = &confidence * (1.0 - &weight) * several.to_kind(Kind::Float);
        let threshold = Some(Tensor::full([1], self.settings.threshold, (Kind::Float, rows.device())));
        let confident = self.confident(&weight);
        PseudoLabels {
            threshold,
            rows: [(LEFT, left), (SHRUNK, shrunk)].into(),
            further: Some(SHRUNK),
            constants: [(CONFIDENT, confident)].into(),
            ..PseudoLabels::soft(rows, confidence, class, weight)
        }
    }
}

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        save_tensors(&[&self.alignment.means, &self.confident])
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        load_tensors(state, [&mut self.alignment.means, &mut self.confident])
    }
}
