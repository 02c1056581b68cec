//! How often each class comes among labelled samples.

use crate::messages::LabelledScores;
use crate::pseudo_labels::Target;
use tch::{Device, Kind, Tensor};

/// Fraction of the counts kept at each step: they are of about the last 1,000 steps.
const MEMORY: f64 = 0.999;

/// Number of labelled samples of each class, of which earlier ones count less.
#[derive(Default)]
pub struct Frequencies {
    /// `[C]` f32
    pub counts: Option<Tensor>,
}

impl Frequencies {
    /// Takes in the labelled samples of a step. Returns the counts `[C]` f32.
    pub fn learn(&mut self, labelled: Option<&LabelledScores>, classes: i64, device: Device) -> &Tensor {
        let counts = match self.counts.take() {
            Some(counts) => counts.to_device(device),
            None => Tensor::zeros([classes], (Kind::Float, device)),
        };
        self.counts.insert(match labelled {
            Some(labelled) => {
                let rows = Target::Hard(labelled.classes.shallow_clone()).rows(classes);
                counts * MEMORY + rows.sum_dim_intlist([0i64].as_slice(), false, Kind::Float)
            }
            None => counts,
        })
    }
}
