//! AdaMatch (Berthelot et al. 2022, §3): FixMatch with a threshold relative to the teacher's confidence
//! on labelled samples, and with distribution alignment: probabilities are multiplied by the average
//! probabilities of labelled samples over those of unlabelled ones.
//!
//! As in the authors' code, the labelled average is a moving average, the unlabelled one a mean of the
//! last batches, and both start at 1/C. The target is the class of the aligned probabilities. The
//! unlabelled weight ramps up as (1 - cos(π t/T))/2, where T is half the training there and
//! `ramp_steps` here. A step without labelled samples accepts nothing, since the threshold is relative
//! to them.
//!
//! Departures: random interpolation of labelled logits is left out, since it needs a pass of labelled
//! samples alone through batch norm. Labelled samples have one view, that of the job's `views.labelled`,
//! unless `strong_labelled` asks for a strong one beside it, as in the paper. As in FixMatch, with `teacher.ema = 0` the student
//! makes the pseudo-labels, as in the paper.

use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, View, ViewRequest};
use crate::method::average::{Average, load_tensors, save_tensors};
use crate::method::ramp::progress;
use crate::pseudo_labels::PseudoLabels;
use crate::window::keep_newest_rows;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::state::Stateful;
use std::f64::consts::PI;
use tch::{Kind, Tensor};

/// Keeps alignment from dividing by 0.
const LEAST_SHARE: f64 = 1e-6;

/// Options of the method. The defaults are those of the authors' code.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// τ: ratio of the threshold to the mean confidence of labelled samples.
    pub threshold: f64,
    /// Fraction of the average of labelled probabilities kept at each step.
    pub momentum: f64,
    /// Number of batches over which unlabelled probabilities are averaged.
    pub window: usize,
    /// Final weight of the unlabelled loss.
    pub unlabelled_weight: f64,
    /// T: steps over which that weight ramps up. 0: full weight from the start.
    pub ramp_steps: u64,
    /// Whether labelled samples have a strong view too; the labelled loss is the mean of both.
    pub strong_labelled: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: 0.9,
            momentum: 0.999,
            window: 128,
            unlabelled_weight: 1.0,
            ramp_steps: 0,
            strong_labelled: false,
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        outside(&[
            ("threshold", self.threshold, 0.0..=1.0),
            ("momentum", self.momentum, 0.0..=1.0),
            ("window", self.window as f64, 1.0..=1e5),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
        ])
    }
}

struct AdaMatch(Settings);

/// Averages of the teacher's scores.
struct Labeller {
    settings: Settings,
    /// `[C]`: moving average of labelled probabilities.
    labelled: Average,
    /// `[window, C]`, newest last: mean probabilities of unlabelled batches.
    recent: Option<Tensor>,
}

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(AdaMatch(settings(spec)?)))
}

fn mean(rows: &Tensor, keep: bool) -> Tensor {
    rows.mean_dim([0i64].as_slice(), keep, Kind::Float)
}

impl Labeller {
    /// Adds `rows` `[B, C]`; returns the mean probabilities `[C]` of the last unlabelled batches.
    fn unlabelled(&mut self, rows: &Tensor) -> Tensor {
        let (window, classes) = (self.settings.window as i64, rows.size()[1]);
        let recent = match self.recent.take() {
            Some(recent) => recent.to_device(rows.device()),
            None => Tensor::full([window, classes], 1.0 / classes as f64, (Kind::Float, rows.device())),
        };
        mean(self.recent.insert(keep_newest_rows(&recent, &mean(rows, true), window)), false)
    }

    /// Returns the aligned rows `[B, C]`.
    fn aligned(&mut self, rows: &Tensor, labelled: Option<&Tensor>) -> Tensor {
        let first = 1.0 / rows.size()[1] as f64;
        let unlabelled = self.unlabelled(rows);
        let labelled = match labelled {
            Some(rows) => self.labelled.update(&mean(rows, false), first),
            None => self.labelled.present(&unlabelled, first),
        };
        let aligned = rows * ((labelled + LEAST_SHARE) / (unlabelled + LEAST_SHARE));
        &aligned / aligned.sum_dim_intlist([1i64].as_slice(), true, Kind::Float)
    }
}

impl Method for AdaMatch {
    fn views(&self) -> ViewRequest {
        let labelled = if self.0.strong_labelled { vec![View::Strong] } else { Vec::new() };
        ViewRequest { labelled_scores: true, labelled, ..ViewRequest::default() }
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let labelled = Average::new(self.0.momentum);
        Box::new(Labeller { settings: self.0.clone(), labelled, recent: None })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss_of_views(), forward.unlabelled_loss(), self.0.unlabelled_weight)
    }
}

impl PseudoLabeller for Labeller {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        let labelled = scores.labelled.as_ref().map(|labelled| &labelled.probabilities); // [L, C]
        let (confidence, class) = self.aligned(&scores.unlabelled[0], labelled).max_dim(1, false);
        let Some(labelled) = labelled else {
            let weight = confidence.zeros_like();
            return PseudoLabels::hard(class, confidence, weight);
        };
        let level = labelled.amax([1i64].as_slice(), false).mean(Kind::Float).view(1); // [1]
        let threshold = level * self.settings.threshold;
        let ramp = 0.5 - 0.5 * (PI * progress(scores.step, self.settings.ramp_steps)).cos();
        let weight = confidence.ge_tensor(&threshold).to_kind(Kind::Float) * ramp;
        PseudoLabels { threshold: Some(threshold), ..PseudoLabels::hard(class, confidence, weight) }
    }
}

impl Stateful for Labeller {
    fn save(&self) -> Result<Vec<u8>> {
        save_tensors(&[&self.labelled.value, &self.recent])
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        load_tensors(state, [&mut self.labelled.value, &mut self.recent])
    }
}
