//! Smoothed adaptive weighting (SAW; Lai et al. 2022, §3): accepted pseudo-labels weigh more the rarer their class is among them, by
//! the inverse of the class's effective number of samples. For labelled samples `loss.class_weights = "effective"` does so.
//! Of methods with several last layers or networks, the weights are those of the network's own last layer.

use crate::class_weights::effective;
use crate::method::api::Forward;
use crate::pseudo_labels::Target;
use tch::{Device, Kind, Tensor};

/// Fraction of the counts kept at each step: they are of about the last 1,000 steps.
const MEMORY: f64 = 0.999;

pub struct Rarity {
    /// `[C]` f32: number of accepted pseudo-labels of each class, of which earlier ones count less.
    pub counts: Tensor,
}

impl Rarity {
    pub fn new(classes: i64, device: Device) -> Self {
        Self { counts: Tensor::zeros([classes], (Kind::Float, device)) }
    }

    /// Takes in the pseudo-labels of a step, and weighs them.
    pub fn weigh(&mut self, forward: &mut Forward<'_>) {
        let class = match &forward.target {
            Target::Hard(classes) => classes.shallow_clone(),
            Target::Soft(rows) => rows.argmax(1, false),
        };
        let accepted = forward.weight.gt(0.0).to_kind(Kind::Float); // [A]
        let of_step = Target::Hard(class.shallow_clone()).rows(self.counts.size()[0]).tr().mv(&accepted);
        self.counts = &self.counts * MEMORY + of_step;
        forward.weight = &forward.weight * effective(&self.counts).index_select(0, &class);
    }
}
