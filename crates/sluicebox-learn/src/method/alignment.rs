//! Distribution alignment (Berthelot et al. 2020, §3.1): each probability is divided by its mean over the last steps, so that
//! classes come alike, or as often as among labelled samples.

use crate::window::keep_newest_rows;
use tch::{Kind, Tensor};

/// Mean probabilities of the last steps.
pub struct Alignment {
    steps: u64,
    /// `[steps, C]`, newest last.
    pub means: Option<Tensor>,
}

/// Scales rows `[B, C]` to sum 1.
fn normalised(rows: &Tensor) -> Tensor {
    rows / rows.sum_dim_intlist([1i64].as_slice(), true, Kind::Float).clamp_min(1e-12)
}

impl Alignment {
    /// Creates an alignment by the means of `steps` steps; with 0 it changes nothing.
    pub fn new(steps: u64) -> Self {
        Self { steps, means: None }
    }

    /// Takes in the rows `[B, C]` of a step; returns them divided by their mean over the last steps, scaled to sum 1.
    pub fn aligned(&mut self, rows: &Tensor) -> Tensor {
        match self.divided(rows) {
            Some(divided) => normalised(&divided),
            None => rows.shallow_clone(),
        }
    }

    /// The same, but toward classes that come as often as `counts` `[C]` say, of which each counts one more.
    pub fn toward(&mut self, rows: &Tensor, counts: &Tensor) -> Tensor {
        match self.divided(rows) {
            Some(divided) => normalised(&(divided * (counts + 1.0))),
            None => rows.shallow_clone(),
        }
    }

    fn divided(&mut self, rows: &Tensor) -> Option<Tensor> {
        if self.steps == 0 {
            return None;
        }
        let mean = rows.mean_dim([0i64].as_slice(), true, Kind::Float); // [1, C]
        let means = match self.means.take() {
            Some(means) => keep_newest_rows(&means.to_device(rows.device()), &mean, self.steps as i64),
            None => mean,
        };
        let means = self.means.insert(means);
        Some(rows / means.mean_dim([0i64].as_slice(), true, Kind::Float).clamp_min(1e-6))
    }
}
