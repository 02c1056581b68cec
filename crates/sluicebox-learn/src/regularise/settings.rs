//! Settings of the regularisers, `[regularise]`.

use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::{above_to, within};

/// `[regularise]`: factors of further loss terms. 0 is off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Factor of the mean entropy of the student's outputs on unlabelled samples.
    pub entropy: f64,
    /// Factor of the divergence of the mean output from a prior.
    pub prior: f64,
    /// Prior for the mean output.
    pub prior_of: PriorOf,
    /// Factor of the log frequencies of classes that are added to the student's logits of unlabelled samples in its loss
    /// (τ of logit adjustment). The frequencies are the teacher's mean probabilities.
    pub margin: f64,
    /// The same for labelled samples, by the frequencies of their classes; the paper has 1.
    pub labelled_margin: f64,
    /// Whether accepted pseudo-labels weigh more the rarer their class is among them.
    pub rarity: bool,
    /// Factor of the squared distance of labelled features to their class's centre.
    pub center: f64,
    /// Learning rate of the centres, above 0 and at most 1.
    pub center_rate: f64,
    /// Factor of half the mean squared length of labelled samples' logits (spectral decoupling).
    pub decoupling: f64,
    /// Factor of the squared deviation of the length of each unit's weights from 1 (norm loss).
    pub norms: f64,
    /// Factor of the deviation of each weight matrix's largest singular value from 1.
    pub spectral: f64,
    /// Factor of the squared distance of the weights to their initial values.
    pub l2_init: f64,
    /// Maximum norm of the gradient; a longer one is scaled down.
    pub clip_gradient: f64,
    /// Fraction of a labelled sample's target spread evenly over all classes.
    pub label_smoothing: f64,
    /// Final share of the teacher's probabilities in a labelled sample's target, from 0 to below 1; the rest is its label.
    pub refine: f64,
    /// Steps over which that share grows from 0.
    pub refine_steps: u64,
    /// Mixing of labelled samples with each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<Mixup>,
}

/// Mixing of labelled samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mixup {
    /// α of the Beta(α, α) from which each sample's own share is drawn.
    pub alpha: f64,
    /// CutMix instead of mixup: a box of the partner replaces that of the sample.
    pub cut: bool,
}

impl Default for Mixup {
    fn default() -> Self {
        Self { alpha: 0.2, cut: false }
    }
}

/// Prior for the mean output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PriorOf {
    /// All classes equally frequent.
    #[default]
    Uniform,
    /// Running class frequencies of the labelled samples.
    Labelled,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            entropy: 0.0,
            prior: 0.0,
            prior_of: PriorOf::Uniform,
            margin: 0.0,
            labelled_margin: 0.0,
            rarity: false,
            center: 0.0,
            center_rate: 0.5,
            decoupling: 0.0,
            norms: 0.0,
            spectral: 0.0,
            l2_init: 0.0,
            clip_gradient: 0.0,
            label_smoothing: 0.0,
            refine: 0.0,
            refine_steps: 400,
            mixup: None,
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        for (key, factor) in [
            ("entropy", self.entropy),
            ("prior", self.prior),
            ("margin", self.margin),
            ("labelled_margin", self.labelled_margin),
            ("center", self.center),
            ("decoupling", self.decoupling),
            ("norms", self.norms),
            ("spectral", self.spectral),
            ("l2_init", self.l2_init),
            ("clip_gradient", self.clip_gradient),
        ] {
            within(&mut faults, key, factor, 0.0..);
        }
        within(&mut faults, "center_rate", self.center_rate, above_to(0.0, 1.0));
        within(&mut faults, "label_smoothing", self.label_smoothing, 0.0..1.0);
        within(&mut faults, "refine", self.refine, 0.0..1.0);
        if let Some(Mixup { alpha, .. }) = self.mixup
            && !(1e-3..=1e3).contains(&alpha)
        {
            faults.push(("mixup", format!("alpha = {alpha} must be from 0.001 to 1000")));
        }
        faults
    }
}
