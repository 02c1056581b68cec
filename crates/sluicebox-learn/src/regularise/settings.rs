//! Settings of the regularisers, `[regularise]`.

use crate::regularise::anchor;
use crate::regularise::contrast::Contrast;
use crate::regularise::mixup::Mixup;
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
    /// Classes that a labelled sample's class is told from in its loss.
    pub contrast: Contrast,
    /// Factor of how much the standard deviations of features fall short of 1, a mean over features.
    pub feature_variance: f64,
    /// Factor of the squared covariances of different features, summed and divided by their number.
    pub feature_covariance: f64,
    /// Factor of the log mean similarity of pairs of samples' features, scaled to length 1 (uniformity).
    pub feature_uniformity: f64,
    /// Factor of the squared deviation of the length of each unit's weights from 1 (norm loss).
    pub norms: f64,
    /// Factor of the deviation of each weight matrix's largest singular value from 1.
    pub spectral: f64,
    /// Factor of the squared distance of the weights to their initial values.
    pub l2_init: f64,
    /// Holds what was learned before the stream changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor: Option<anchor::Settings>,
    /// Whether that part of the gradient is taken away by which what is new opposes the labelled samples.
    pub project: bool,
    /// Maximum norm of the gradient; a longer one is scaled down.
    pub clip_gradient: f64,
    /// Fraction of a labelled sample's target spread evenly over all classes.
    pub label_smoothing: f64,
    /// Steps after which labels are no longer smoothed. 0: they always are.
    pub smoothing_steps: u64,
    /// Final share of the teacher's probabilities in a labelled sample's target, from 0 to below 1; the rest is its label.
    pub refine: f64,
    /// Steps over which that share grows from 0.
    pub refine_steps: u64,
    /// Mixing of labelled samples with each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<Mixup>,
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
            contrast: Contrast::All,
            feature_variance: 0.0,
            feature_covariance: 0.0,
            feature_uniformity: 0.0,
            norms: 0.0,
            spectral: 0.0,
            l2_init: 0.0,
            anchor: None,
            project: false,
            clip_gradient: 0.0,
            label_smoothing: 0.0,
            smoothing_steps: 0,
            refine: 0.0,
            refine_steps: 400,
            mixup: None,
        }
    }
}

impl Settings {
    /// Returns a key that does not suit the method, and why, if there is one. `unlabelled`: it shows the student unlabelled
    /// samples; `mixes`: it mixes samples.
    pub fn unfit(&self, unlabelled: bool, mixes: bool) -> Option<(&'static str, &'static str)> {
        let needed = [
            ("entropy", self.entropy > 0.0),
            ("margin", self.margin > 0.0),
            ("rarity", self.rarity),
            ("project", self.project),
        ];
        let in_vain = needed.iter().find(|(_, is_on)| *is_on && !unlabelled).map(|(key, _)| *key);
        let of_unlabelled =
            "needs unlabelled samples, and this method trains on none: leave it out, or name another method";
        let of_pairs = "= \"pair\" tells one class from another, but mixed samples are of two: use \"present\", or mix nothing";
        let pairs = self.contrast == Contrast::Pair && (mixes || self.mixup.is_some());
        in_vain.map(|key| (key, of_unlabelled)).or_else(|| pairs.then_some(("contrast", of_pairs)))
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
            ("feature_variance", self.feature_variance),
            ("feature_covariance", self.feature_covariance),
            ("feature_uniformity", self.feature_uniformity),
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
        if self.smoothing_steps > 0 && self.label_smoothing == 0.0 {
            faults.push(("smoothing_steps", "ends what label_smoothing begins: set that too".into()));
        }
        faults.extend(self.mixup.and_then(|mixup| mixup.fault()).map(|reason| ("mixup", reason)));
        if let Some(anchor) = self.anchor
            && !(0.0..=1e9).contains(&anchor.weight)
        {
            faults.push(("anchor", format!("weight = {} must be from 0 to 1000000000", anchor.weight)));
        }
        faults
    }
}
