//! Logit adjustment (Menon et al. 2021, equation 10): τ log π is added to the student's logits in its loss, where π is how
//! often a class comes. What the network then learns is to tell classes apart as if they came alike, and nothing is added
//! where it answers.
//!
//! For labelled samples π are the frequencies of their classes. For unlabelled ones (debiased pseudo-labelling, Wang et al.
//! 2022, §3.2) it is the teacher's mean probabilities, before any correction. Both are averages of about the last 1,000
//! steps.

use crate::method::api::Forward;
use crate::pseudo_labels::{MEAN, Target};
use tch::{Device, Kind, Tensor};

/// Fraction of the averages kept at each step.
const MEMORY: f64 = 0.999;

pub struct Margins {
    /// τ for labelled samples.
    labelled: f64,
    /// τ for unlabelled samples.
    unlabelled: f64,
    /// `[2, C]` f32: number of labelled samples of each class, of which earlier ones count less, and mean probabilities
    /// of unlabelled samples.
    pub averages: Tensor,
}

impl Margins {
    pub fn new(labelled: f64, unlabelled: f64, classes: i64, device: Device) -> Self {
        let counts = Tensor::zeros([1, classes], (Kind::Float, device));
        let averages = Tensor::cat(&[&counts, &counts.full_like(1.0 / classes as f64)], 0);
        Self { labelled, unlabelled, averages }
    }

    /// Takes in the step, and shifts the student's logits in it.
    pub fn shift(&mut self, forward: &mut Forward<'_>) {
        let classes = self.averages.size()[1];
        if let Some(labelled) = forward.labelled.as_mut().filter(|_| self.labelled > 0.0) {
            let of_step = Target::Hard(labelled.classes.shallow_clone()).rows(classes);
            let counts = self.averages.get(0) * MEMORY
                + of_step.sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
            // One more of each, so that a class of which there is no label has a frequency too.
            let frequencies = (&counts + 1.0) / (counts.sum(Kind::Float) + classes as f64);
            self.averages.get(0).copy_(&counts);
            labelled.output.logits = &labelled.output.logits + frequencies.log() * self.labelled;
        }
        if let Some(mean) = forward.constants.get(MEAN).filter(|_| self.unlabelled > 0.0) {
            let average = self.averages.get(1).lerp(mean, 1.0 - MEMORY);
            self.averages.get(1).copy_(&average);
            for view in &mut forward.strong {
                view.logits = &view.logits + average.clamp_min(1e-6).log() * self.unlabelled;
            }
        }
    }
}
