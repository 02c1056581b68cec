//! SoftMatch (Chen et al. 2023, §3): every pseudo-label has a weight. It is 1 at or above the average
//! confidence and falls below it like a Gaussian with the mean and variance of the confidences. The
//! confidence weighed is that of probabilities aligned towards a uniform distribution over classes; the
//! pseudo-label itself is the teacher's unaligned one.
//!
//! The authors' later code takes mean and variance of the aligned confidences; here they are those of
//! the unaligned ones, as in the paper. All three averages include the present batch before it is
//! weighed; they start at 1/C, 1 and 1/C. A batch of one sample does not update the variance.
//!
//! As in FixMatch, with `teacher.ema = 0` the student makes the pseudo-labels, as in the paper. A
//! weight below one millionth is set to 0.

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

/// Weights below this are set to 0.
const LEAST_WEIGHT: f64 = 1e-6;

/// Options of the method. The defaults are the paper's.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// m: fraction of the averages kept at each step.
    pub momentum: f64,
    /// n: the Gaussian has the variance of the confidences divided by n².
    pub deviations: f64,
    /// Whether confidences are weighed after alignment with a uniform distribution.
    pub align: bool,
    /// λ: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { momentum: 0.999, deviations: 2.0, align: true, unlabelled_weight: 1.0 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("momentum", self.momentum, 0.0..=1.0),
            ("deviations", self.deviations, 0.001..=1000.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
        ])
    }
}

struct SoftMatch(Settings);

/// Averages of the teacher's scores.
struct Labeller {
    settings: Settings,
    /// μ `[1]`: average confidence.
    mean: Average,
    /// σ² `[1]`: average variance of the confidences.
    variance: Average,
    /// `[C]`: average probabilities.
    probabilities: Average,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(SoftMatch(settings(spec)?)))
}

impl Labeller {
    /// Updates μ and σ² `[1]` with the present confidences `[B]` and returns them.
    fn gaussian(&mut self, confidence: &Tensor, classes: i64) -> (Tensor, Tensor) {
        let mean = confidence.mean(Kind::Float).view(1);
        let mean = self.mean.update(&mean, 1.0 / classes as f64).shallow_clone();
        let variance = match confidence.size()[0] {
            1 => self.variance.present(&mean, 1.0),
            _ => self.variance.update(&confidence.var(true).view(1), 1.0),
        };
        (mean, variance.shallow_clone())
    }

    /// Returns the confidences `[B]` of rows `[B, C]` after alignment.
    fn aligned(&mut self, rows: &Tensor) -> Tensor {
        let mean = rows.mean_dim([0i64].as_slice(), false, Kind::Float);
        let average = self.probabilities.update(&mean, 1.0 / rows.size()[1] as f64); // [C]
        let rows = rows / average.clamp_min(1e-12);
        rows.amax([1i64].as_slice(), false) / rows.sum_dim_intlist([1i64].as_slice(), false, Kind::Float)
    }

    /// Returns the weights `[B]` of confidences `[B]`.
    fn weigh(&self, confidence: &Tensor, mean: &Tensor, variance: &Tensor) -> Tensor {
        let below = (confidence - mean).clamp_max(0.0);
        let spread =
            variance.clamp_min(1e-12) * (2.0 / (self.settings.deviations * self.settings.deviations));
        let weight = (-below.square() / spread).exp();
        &weight * weight.ge(LEAST_WEIGHT)
    }
}

impl Method for SoftMatch {
    fn views(&self) -> ViewRequest {
        ViewRequest::default()
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let settings = self.0.clone();
        let average = || Average::new(settings.momentum);
        let (mean, variance, probabilities) = (average(), average(), average());
        Box::new(Labeller { settings, mean, variance, probabilities })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), self.0.unlabelled_weight)
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let rows = &scores.unlabelled[0]; // [B, C]
        let (confidence, class) = rows.max_dim(1, false); // [B], [B]
        let (mean, variance) = self.gaussian(&confidence, rows.size()[1]);
        let weighed = if self.settings.align { self.aligned(rows) } else { confidence.shallow_clone() };
        let weight = self.weigh(&weighed, &mean, &variance);
        PseudoLabels::hard(class, confidence, weight)
    }
}

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        save_tensors(&[&self.mean.value, &self.variance.value, &self.probabilities.value])
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let Self { mean, variance, probabilities, .. } = self;
        load_tensors(state, [&mut mean.value, &mut variance.value, &mut probabilities.value])
    }
}
