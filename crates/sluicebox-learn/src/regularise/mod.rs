//! Regularisers: loss terms that work with every method. One file per term, one line each in
//! [`Regularisers::new`]. A term that is off costs nothing. Changes to the batch before the forward
//! pass are in [`crate::mixing`].

pub mod anchor;
mod api;
mod center;
mod collapse;
mod contrast;
mod decoupling;
mod entropy;
mod l2_init;
mod margin;
pub mod mixup;
mod norms;
mod prior;
pub mod projection;
mod rarity;
mod settings;
mod spectral;

pub use contrast::Contrast;
pub use settings::{PriorOf, Settings};

use crate::method::api::Forward;
use crate::model::layout::Layout;
use api::{OutputTerm, WeightTerm};
use center::Center;
use collapse::Collapse;
use decoupling::Decoupling;
use entropy::Entropy;
use l2_init::L2Init;
use margin::Margins;
use norms::Norms;
use prior::Prior;
use rarity::Rarity;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::Draws;
use spectral::Spectral;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// The active terms of a job, each with its name and factor.
pub struct Regularisers {
    outputs: Vec<(&'static str, f64, Box<dyn OutputTerm>)>,
    weights: Vec<(&'static str, f64, Box<dyn WeightTerm>)>,
    margins: Option<Margins>,
    rarity: Option<Rarity>,
    contrast: Contrast,
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
    /// Whether the method mixes samples of different classes.
    pub mixes: bool,
}

impl Regularisers {
    /// Builds the terms that a job configures.
    pub fn new(settings: &Settings, subject: &Subject<'_>, draws: &mut Draws) -> Result<Self> {
        if let Some((key, reason)) = settings.unfit(subject.unlabelled, subject.mixes) {
            return Err(Error::Request(format!("regularise.{key} {reason}")));
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
        if settings.decoupling > 0.0 {
            outputs.push(("decoupling", settings.decoupling, Box::new(Decoupling)));
        }
        for (name, factor, term) in [
            ("feature_variance", settings.feature_variance, Collapse::Variance),
            ("feature_covariance", settings.feature_covariance, Collapse::Covariance),
            ("feature_uniformity", settings.feature_uniformity, Collapse::Uniformity),
        ] {
            if factor > 0.0 {
                outputs.push((name, factor, Box::new(term)));
            }
        }
        let mut weights: Vec<(_, _, Box<dyn WeightTerm>)> = Vec::new();
        if settings.spectral > 0.0 {
            let term = Spectral::new(subject.layout, device, draws);
            weights.push(("spectral", settings.spectral, Box::new(term)));
        }
        if settings.l2_init > 0.0 {
            weights.push(("l2_init", settings.l2_init, Box::new(L2Init { first: subject.first.copy() })));
        }
        if settings.norms > 0.0 {
            weights.push(("norms", settings.norms, Box::new(Norms::new(subject.layout))));
        }
        let (labelled, unlabelled) = (settings.labelled_margin, settings.margin);
        let margins =
            (labelled > 0.0 || unlabelled > 0.0).then(|| Margins::new(labelled, unlabelled, classes, device));
        let rarity = settings.rarity.then(|| Rarity::new(classes, device));
        let (contrast, clip) = (settings.contrast, settings.clip_gradient);
        Ok(Self { outputs, weights, margins, rarity, contrast, clip })
    }

    /// Returns the sum of the output terms, a scalar to add to the method's loss.
    pub fn loss(&mut self, forward: &Forward<'_>) -> Option<Tensor> {
        let terms = self.outputs.iter_mut();
        let terms = terms.filter_map(|(_, factor, term)| Some(term.loss(forward)? * *factor));
        terms.reduce(|sum, term| sum + term)
    }

    /// Weighs pseudo-labels by how rare their class is, shifts the student's logits by the margins, and leaves classes out of the
    /// loss of labelled samples. What is computed of a step before, such as the output terms, sees all of it as it is.
    pub fn change(&mut self, forward: &mut Forward<'_>) {
        if let Some(rarity) = &mut self.rarity {
            rarity.weigh(forward);
        }
        if let Some(margins) = &mut self.margins {
            margins.shift(forward);
        }
        self.contrast.narrow(forward);
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
        let margins = self.margins.as_mut().map(|margins| ("margin", Some(&mut margins.averages)));
        let rarity = self.rarity.as_mut().map(|rarity| ("rarity", Some(&mut rarity.counts)));
        outputs
            .chain(weights)
            .chain(margins)
            .chain(rarity)
            .filter_map(|(name, state)| Some((name, state?)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
