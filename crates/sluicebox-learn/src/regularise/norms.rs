//! Norm loss (Georgiou et al. 2021, equation 4): Σ (1 - ‖w‖)² over the weight vectors w of all units, the rows of weight
//! matrices. It holds lengths where weight decay shrinks them. The gradient is 2 (‖w‖ - 1)·w/‖w‖.

use crate::model::layout::Layout;
use crate::regularise::api::WeightTerm;
use tch::{Kind, Tensor};

/// Keeps the division by a zero norm finite.
const LEAST: f64 = 1e-12;

pub struct Norms {
    /// Offset, length and number of rows of each matrix; the rows of a convolution are its output channels.
    matrices: Vec<(i64, i64, i64)>,
}

impl Norms {
    /// Covers all matrices of a layout.
    pub fn new(layout: &Layout) -> Self {
        let matrices = layout.parameters.iter().filter(|slot| slot.shape.len() > 1);
        Self { matrices: matrices.map(|slot| (slot.offset, slot.len(), slot.shape[0])).collect() }
    }
}

impl WeightTerm for Norms {
    fn add(&mut self, parameters: &Tensor, gradients: &Tensor, weight: f64) {
        for (offset, length, rows) in &self.matrices {
            let matrix = |flat: &Tensor| flat.narrow(0, *offset, *length).view([*rows, -1]);
            let values = matrix(parameters);
            let squared = values.square().sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
            let lengths = squared.sqrt().clamp_min(LEAST); // [rows, 1]
            let _ = matrix(gradients).g_add_(&(&values * ((1.0 - lengths.reciprocal()) * (2.0 * weight))));
        }
    }
}
