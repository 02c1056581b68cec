//! UDA (Xie et al. 2020): where the weak view is classified with a probability of at least β, its
//! sharpened probabilities are the target of the strong views (§2).
//!
//! With training signal annealing, labelled samples that the student already knows do not count: those
//! whose own class has a probability above η, which rises from 1/C to 1. The paper ties η to the length
//! of the training; here `tsa_steps` replaces it. Off by default, as in the authors' runs on images.
//!
//! The loss is the cross-entropy; the authors' code uses the KL divergence, which has the same
//! gradient. As in FixMatch, batch norm sees rejected samples only with `filter.mode = "mask"`, and
//! with `teacher.ema = 0` the student makes the pseudo-labels, as in the paper.

use crate::loss::cross_entropy;
use crate::messages::Scores;
use crate::method::api::{Forward, Loss, Method, PseudoLabeller, ViewRequest, stateless};
use crate::method::ramp::progress;
use crate::pseudo_labels::{PseudoLabels, Target};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::outside;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Rise of η over the first `tsa_steps` steps T: η = 1/C + (1 - 1/C) α.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Annealing {
    /// Every labelled sample counts.
    #[default]
    Off,
    /// α = t/T.
    Linear,
    /// α = 1 - exp(-5 t/T): fast at first.
    Log,
    /// α = exp(5 (t/T - 1)): fast at the end.
    Exp,
}

/// Options of the method. The defaults are those of the authors' runs on CIFAR-10.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// β: least probability of an accepted weak view.
    pub threshold: f64,
    /// τ: probabilities are sharpened by the power 1/τ.
    pub temperature: f64,
    /// λ: weight of the unlabelled loss.
    pub unlabelled_weight: f64,
    /// Training signal annealing: schedule by which labelled samples are admitted.
    pub tsa: Annealing,
    /// T: number of steps of training signal annealing.
    pub tsa_steps: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let (threshold, temperature, unlabelled_weight) = (0.8, 0.4, 1.0);
        Self { threshold, temperature, unlabelled_weight, tsa: Annealing::Off, tsa_steps: 0 }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = outside(&[
            ("threshold", self.threshold, 0.0..=1.0),
            ("temperature", self.temperature, 0.01..=100.0),
            ("unlabelled_weight", self.unlabelled_weight, 0.0..=1e6),
        ]);
        if self.tsa != Annealing::Off && self.tsa_steps == 0 {
            faults.push(("tsa_steps", "must be above 0 where `tsa` is on".into()));
        }
        faults
    }
}

impl Settings {
    /// Returns η at a step; `None` where every labelled sample counts.
    fn most(&self, step: u64, classes: i64) -> Option<f64> {
        let part = progress(step, self.tsa_steps);
        let alpha = match self.tsa {
            Annealing::Off => return None,
            _ if part == 1.0 => return None,
            Annealing::Linear => part,
            Annealing::Log => 1.0 - (-5.0 * part).exp(),
            Annealing::Exp => (5.0 * (part - 1.0)).exp(),
        };
        let least = 1.0 / classes as f64;
        Some(least + (1.0 - least) * alpha)
    }
}

struct Uda(Settings);

/// Makes the method from resolved options.
pub fn build(spec: &Spec) -> Result<Box<dyn Method>> {
    Ok(Box::new(Uda(settings(spec)?)))
}

impl Uda {
    /// Returns the mean cross-entropy of the labelled samples that count.
    fn labelled_loss(forward: &Forward<'_>) -> Option<Tensor> {
        let Some(most) = forward.constants.get("eta") else { return forward.labelled_loss() };
        let labelled = forward.labelled.as_ref()?;
        let each = cross_entropy(&labelled.output.logits, &labelled.target); // [L]
        let own =
            labelled.output.logits.softmax(1, Kind::Float).gather(1, &labelled.classes.view([-1, 1]), false);
        let counted = own.view(-1).le_tensor(most).to_kind(Kind::Float).detach(); // [L]
        Some(each.dot(&counted) / counted.sum(Kind::Float).clamp_min(1.0))
    }
}

impl Method for Uda {
    fn views(&self) -> ViewRequest {
        ViewRequest::default()
    }

    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        let settings = self.0.clone();
        stateless(move |scores: &Scores| {
            let rows = &scores.unlabelled[0]; // [B, C]
            let (confidence, class) = rows.max_dim(1, false); // [B], [B]
            let full = |value: f64| Tensor::full([1], value, (Kind::Float, rows.device()));
            let sharp = (rows.log() / settings.temperature).softmax(1, Kind::Float);
            let weight = confidence.ge(settings.threshold).to_kind(Kind::Float);
            let eta = settings.most(scores.step, rows.size()[1]);
            PseudoLabels {
                target: Target::Soft(sharp),
                threshold: Some(full(settings.threshold)),
                constants: eta.map(|eta| ("eta", full(eta))).into_iter().collect(),
                ..PseudoLabels::hard(class, confidence, weight)
            }
        })
    }

    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(Self::labelled_loss(&forward), forward.unlabelled_loss(), self.0.unlabelled_weight)
    }
}
