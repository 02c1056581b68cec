//! Regularisers: loss terms that work with every method. One file per term, one line each in
//! [`Regularisers::new`]. A term that is off costs nothing. Changes to the batch before the forward
//! pass are in `student::mixing`.

mod center;
mod entropy;
mod l2_init;
mod prior;
mod spectral;

use crate::method::api::Forward;
use crate::model::layout::Layout;
use center::Center;
use entropy::Entropy;
use l2_init::L2Init;
use prior::Prior;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::Draws;
use spectral::Spectral;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// `[regularise]`: factors of further loss terms. 0 is off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Factor of the mean entropy of the student's outputs on unlabelled samples.
    pub entropy: f64,
    /// Factor of the divergence of the mean output from a prior.
    pub prior: f64,
    /// Prior for the mean output.
    pub prior_of: PriorOf,
    /// Factor of the squared distance of labelled features to their class's centre.
    pub center: f64,
    /// Learning rate of the centres, above 0 and at most 1.
    pub center_rate: f64,
    /// Factor of the deviation of each weight matrix's largest singular value from 1.
    pub spectral: f64,
    /// Factor of the squared distance of the weights to their initial values.
    pub l2_init: f64,
    /// Maximum norm of the gradient; a longer one is scaled down.
    pub clip_gradient: f64,
    /// Fraction of a labelled sample's target spread evenly over all classes.
    pub label_smoothing: f64,
    /// Mixing of labelled samples with each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<Mixup>,
}

/// Mixing of labelled samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
            center: 0.0,
            center_rate: 0.5,
            spectral: 0.0,
            l2_init: 0.0,
            clip_gradient: 0.0,
            label_smoothing: 0.0,
            mixup: None,
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let factors = [
            ("entropy", self.entropy),
            ("prior", self.prior),
            ("center", self.center),
            ("spectral", self.spectral),
            ("l2_init", self.l2_init),
            ("clip_gradient", self.clip_gradient),
        ];
        let bad = |value: f64| !(value.is_finite() && value >= 0.0);
        let mut faults: Vec<_> = factors
            .into_iter()
            .filter(|(_, value)| bad(*value))
            .map(|(key, value)| (key, format!("{value} is not 0 (off) or more")))
            .collect();
        if !(self.center_rate > 0.0 && self.center_rate <= 1.0) {
            faults.push(("center_rate", format!("{} is not above 0 and up to 1", self.center_rate)));
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            faults.push(("label_smoothing", format!("{} is not from 0 to below 1", self.label_smoothing)));
        }
        if let Some(Mixup { alpha, .. }) = self.mixup
            && !(1e-3..=1e3).contains(&alpha)
        {
            faults.push(("mixup", format!("alpha = {alpha} is not from 0.001 to 1000")));
        }
        faults
    }
}

/// A loss term that depends on the student's outputs.
trait OutputTerm {
    /// Returns the term as a scalar, before its factor; `None` where it does not apply.
    fn loss(&mut self, forward: &Forward<'_>) -> Option<Tensor>;

    /// Returns the state kept between steps, f32.
    fn state(&mut self) -> Option<&mut Tensor> {
        None
    }
}

/// A loss term that depends on the weights alone.
trait WeightTerm {
    /// Adds `weight` times the term's gradient at `parameters` `[P]` to `gradients` `[P]`.
    fn add(&mut self, parameters: &Tensor, gradients: &Tensor, weight: f64);

    /// Returns the state kept between steps, f32.
    fn state(&mut self) -> Option<&mut Tensor> {
        None
    }
}

/// The active terms of a job, each with its name and factor.
pub struct Regularisers {
    outputs: Vec<(&'static str, f64, Box<dyn OutputTerm>)>,
    weights: Vec<(&'static str, f64, Box<dyn WeightTerm>)>,
    clip: f64,
}

/// The model and method that the terms apply to.
pub struct Subject<'a> {
    /// Places of the model's weights in the flat tensor.
    pub layout: &'a Layout,
    /// `[P]` f32: the model's first weights.
    pub first: &'a Tensor,
    /// Number of classes C.
    pub classes: i64,
    /// Number of features F.
    pub features: i64,
    /// Whether the method shows the student unlabelled samples.
    pub unlabelled: bool,
}

impl Regularisers {
    /// Builds the terms that a job configures.
    pub fn new(settings: &Settings, subject: &Subject<'_>, draws: &mut Draws) -> Result<Self> {
        if settings.entropy > 0.0 && !subject.unlabelled {
            let reason = "regularise.entropy is of unlabelled samples, of which this method shows the \
                          student none: set it to 0, or name another method";
            return Err(Error::request(reason));
        }
        let (device, classes) = (subject.first.device(), subject.classes);
        let mut outputs: Vec<(_, _, Box<dyn OutputTerm>)> = Vec::new();
        if settings.entropy > 0.0 {
            outputs.push(("entropy", settings.entropy, Box::new(Entropy)));
        }
        if settings.prior > 0.0 {
            let prior = Tensor::full([classes], 1.0 / classes as f64, (Kind::Float, device));
            let labelled = settings.prior_of == PriorOf::Labelled;
            outputs.push(("prior", settings.prior, Box::new(Prior { prior, labelled })));
        }
        if settings.center > 0.0 {
            let centers = Tensor::zeros([classes, subject.features], (Kind::Float, device));
            let term = Center { centers, rate: settings.center_rate };
            outputs.push(("center", settings.center, Box::new(term)));
        }
        let mut weights: Vec<(_, _, Box<dyn WeightTerm>)> = Vec::new();
        if settings.spectral > 0.0 {
            let term = Spectral::new(subject.layout, device, draws);
            weights.push(("spectral", settings.spectral, Box::new(term)));
        }
        if settings.l2_init > 0.0 {
            weights.push(("l2_init", settings.l2_init, Box::new(L2Init { first: subject.first.copy() })));
        }
        Ok(Self { outputs, weights, clip: settings.clip_gradient })
    }

    /// Returns the sum of the output terms, a scalar to add to the method's loss.
    pub fn loss(&mut self, forward: &Forward<'_>) -> Option<Tensor> {
        let terms = self.outputs.iter_mut();
        let terms = terms.filter_map(|(_, factor, term)| Some(term.loss(forward)? * *factor));
        terms.reduce(|sum, term| sum + term)
    }

    /// Adds the gradients of the weight terms at `parameters` `[P]` to `gradients` `[P]`.
    pub fn add(&mut self, parameters: &Tensor, gradients: &Tensor) {
        for (_, factor, term) in &mut self.weights {
            term.add(parameters, gradients, *factor);
        }
    }

    /// Scales the gradients down to the job's maximum norm where theirs is larger (Pascanu et al.
    /// 2013, algorithm 1).
    pub fn clip(&self, gradients: Tensor, norm: &Tensor) -> Tensor {
        match self.clip > 0.0 {
            true => gradients * (norm.clamp_min(self.clip).reciprocal() * self.clip),
            false => gradients,
        }
    }

    /// Returns the state of the terms by name, f32.
    pub fn state(&mut self) -> BTreeMap<&'static str, &mut Tensor> {
        let outputs = self.outputs.iter_mut().map(|(name, _, term)| (*name, term.state()));
        let weights = self.weights.iter_mut().map(|(name, _, term)| (*name, term.state()));
        outputs.chain(weights).filter_map(|(name, state)| Some((name, state?))).collect()
    }
}

#[cfg(test)]
mod tests;
