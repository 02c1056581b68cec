//! FreeMatch (Wang et al. 2023): FixMatch with thresholds derived from the teacher's own scores (§4.1).
//! The moving average of confidences is the threshold of the class with the largest average
//! probability; the thresholds of other classes are lower in proportion to their average probability.
//! All averages start at 1/C.
//!
//! The fairness term (§4.2) is minus the cross-entropy between two distributions over classes: average
//! probabilities divided by average counts of pseudo-labels, and the same ratio for the student's
//! strong views that passed the filter. Classes that the student predicted for none of those views are
//! left out, which changes no gradient of the authors' code.
//!
//! As in FixMatch, batch norm sees rejected samples only with `filter.mode = "mask"`, and with
//! `teacher.ema = 0` the student makes the pseudo-labels, as in the paper.

use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest};
use crate::method::average::{Average, load_tensors, save_tensors};
use crate::pseudo_labels::PseudoLabels;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::Stateful;
use tch::{Kind, Tensor};

/// Options of the method. The defaults are the paper's for CIFAR-10.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// λ: fraction of the averages kept at each step.
    pub momentum: f64,
    /// w_u: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
    /// w_f: weight of the fairness term.
    pub fairness_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { momentum: 0.999, unlabelled_weight: 1.0, fairness_weight: 0.01 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("momentum", self.momentum, 0.0..=1.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
            ("fairness_weight", self.fairness_weight, 0.0..=1e6),
        ])
    }
}

struct FreeMatch(Settings);

/// Averages of the teacher's scores.
pub struct Labeller {
    /// τ `[1]`: average confidence.
    confidence: Average,
    /// p̃ `[C]`: average probabilities.
    probabilities: Average,
    /// h̃ `[C]`: average frequencies of pseudo-labels.
    counts: Average,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(FreeMatch(settings(spec)?)))
}

/// Scales `weights` `[C]` to sum 1; zeros stay zero.
fn normalised(weights: &Tensor) -> Tensor {
    weights / weights.sum(Kind::Float).clamp_min(1e-12)
}

/// Returns the weighted number of rows of each class, of `classes` `[N]` and `weight` `[N]`: `[C]` f32.
fn counted(classes: &Tensor, weight: &Tensor, count: i64) -> Tensor {
    weight.matmul(&classes.one_hot(count).to_kind(Kind::Float))
}

impl FreeMatch {
    /// Returns the fairness term, a scalar; `None` where no sample was selected.
    fn fairness(forward: &Forward<'_>) -> Option<Tensor> {
        let rows = forward.strong.first()?.logits.softmax(1, Kind::Float); // [A, C]
        let expected = forward.constants.get("expected")?;
        let passed = forward.weight.gt(0.0).to_kind(Kind::Float); // [A]
        let counts = counted(&rows.argmax(1, false), &passed, rows.size()[1]); // [C]
        let present = counts.gt(0.0);
        let mean = passed.matmul(&rows) / counts.clamp_min(1.0) * present.to_kind(Kind::Float);
        let share = normalised(&mean).where_self(&present, &mean.ones_like());
        Some((expected * share.log()).sum(Kind::Float))
    }
}

impl Method for FreeMatch {
    fn views(&self) -> ViewRequest {
        ViewRequest::default()
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        Box::new(Labeller::new(self.0.momentum))
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        let Settings { unlabelled_weight, fairness_weight, .. } = self.0;
        let loss = Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), unlabelled_weight)?;
        Some(match Self::fairness(&forward) {
            Some(fairness) => loss.plus(&(fairness * fairness_weight)),
            None => loss,
        })
    }
}

impl Labeller {
    /// Creates a labeller whose averages keep the fraction `momentum` at each step.
    pub fn new(momentum: f64) -> Self {
        let average = || Average::new(momentum);
        Self { confidence: average(), probabilities: average(), counts: average() }
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let rows = &scores.unlabelled[0]; // [B, C]
        let classes = rows.size()[1];
        let first = 1.0 / classes as f64;
        let (confidence, class) = rows.max_dim(1, false); // [B], [B]
        let mean = |rows: &Tensor| rows.mean_dim([0i64].as_slice(), false, Kind::Float);
        let level = self.confidence.update(&mean(&confidence).view(1), first); // [1]
        let probabilities = self.probabilities.update(&mean(rows), first); // [C]
        let counts = counted(&class, &confidence.ones_like(), classes) / rows.size()[0] as f64;
        let counts = self.counts.update(&counts, first); // [C]
        let thresholds = level * probabilities / probabilities.max(); // [C]
        let weight = confidence.ge_tensor(&thresholds.index_select(0, &class)).to_kind(Kind::Float);
        let expected = normalised(&(probabilities / counts.clamp_min(1e-12)));
        PseudoLabels {
            threshold: Some(thresholds),
            constants: [("expected", expected)].into(),
            ..PseudoLabels::hard(class, confidence, weight)
        }
    }
}

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        save_tensors(&[&self.confidence.value, &self.probabilities.value, &self.counts.value])
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let Self { confidence, probabilities, counts } = self;
        load_tensors(state, [&mut confidence.value, &mut probabilities.value, &mut counts.value])
    }
}
