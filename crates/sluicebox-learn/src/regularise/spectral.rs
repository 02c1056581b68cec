//! Spectral regularisation against loss of plasticity: pulls the largest singular value σ of each
//! weight matrix to 1 by Σ (σ² - 1)² (Lewandowski et al. 2024, with k = 2, on weights alone). σ and
//! its vectors u, v come from one power iteration per step, which continues from the previous
//! step's (Yoshida and Miyato 2017, algorithm 1). The gradient is 4σ(σ² - 1)·u·vᵀ.

use crate::model::layout::Layout;
use crate::regularise::api::WeightTerm;
use rand::RngExt;
use sluicebox_core::rng::Draws;
use tch::{Device, Tensor};

/// Keeps the division by a zero norm finite.
const LEAST: f64 = 1e-12;

pub struct Spectral {
    /// Offset, length and number of rows of each matrix; the rows of a convolution are its output channels.
    matrices: Vec<(i64, i64, i64)>,
    /// `[rows of all matrices]` f32: u of each matrix, concatenated.
    left: Tensor,
}

impl Spectral {
    /// Covers all matrices of a layout, starting from random directions.
    pub fn new(layout: &Layout, device: Device, draws: &mut Draws) -> Self {
        let matrices = layout.parameters.iter().filter(|slot| slot.shape.len() > 1);
        let matrices: Vec<_> = matrices.map(|slot| (slot.offset, slot.len(), slot.shape[0])).collect();
        let rows: i64 = matrices.iter().map(|(_, _, rows)| rows).sum();
        let left: Vec<f32> = (0..rows).map(|_| 2.0 * draws.random::<f32>() - 1.0).collect();
        Self { matrices, left: Tensor::from_slice(&left).to_device(device) }
    }
}

impl WeightTerm for Spectral {
    fn add(&mut self, parameters: &Tensor, gradients: &Tensor, weight: f64) {
        let unit = |vector: &Tensor| vector / vector.norm().clamp_min(LEAST);
        let mut at = 0;
        for (offset, length, rows) in &self.matrices {
            let matrix = |flat: &Tensor| flat.narrow(0, *offset, *length).view([*rows, -1]);
            let (values, mut gradient) = (matrix(parameters), matrix(gradients));
            let mut left = self.left.narrow(0, at, *rows);
            at += rows;
            let right = unit(&values.tr().mv(&left));
            let image = values.mv(&right);
            let top = image.norm();
            left.copy_(&unit(&image));
            let factor = (&top * &top - 1.0) * &top * (4.0 * weight);
            let _ = gradient.addr_(&(&left * factor), &right);
        }
    }

    fn state(&mut self) -> Option<&mut Tensor> {
        Some(&mut self.left)
    }
}
