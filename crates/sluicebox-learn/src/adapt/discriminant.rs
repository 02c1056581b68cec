//! Linear discriminants of a sample's features ([`crate::adapt::features`]) in closed form, one per forgetting rate: class means and one shared
//! covariance of labelled samples weighted by exp(-age / time constant), the age counted in labels. They
//! cost almost nothing and need no training passes, so they can show which forgetting rate suits the stream.

use crate::torch::TorchResult;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;
use tch::{Kind, Tensor};

/// Weight, in samples, of the shrinkage towards a diagonal covariance (independent features).
const SHRINK: f64 = 6.0;

/// Sums over labelled samples, from which the discriminants are solved. K forgetting rates, C
/// classes, F features; all f64 on the CPU.
#[derive(Debug)]
pub struct Sums {
    /// `[K]`: factor on the sums per label.
    stays: Tensor,
    /// `[K, C]`: weighted number of samples per class.
    counts: Tensor,
    /// `[K, C, F]`: weighted sums of the features per class.
    sums: Tensor,
    /// `[K, F, F]`: weighted sums of the features' outer products.
    squares: Tensor,
}

/// Serialised form of [`Sums`] in a checkpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Saved {
    counts: Vec<f64>,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    /// Creates empty sums. A time constant may be infinite (no forgetting).
    pub fn new(time_constants: &[f64], classes: i64, features: i64) -> Self {
        let stays: Vec<f64> = time_constants.iter().map(|constant| (-1.0 / constant).exp()).collect();
        let count = time_constants.len() as i64;
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Double, tch::Device::Cpu));
        Self {
            stays: Tensor::from_slice(&stays),
            counts: zeros(&[count, classes]),
            sums: zeros(&[count, classes, features]),
            squares: zeros(&[count, features, features]),
        }
    }

    /// Adds labelled samples, oldest first: `rows` `[N, F]` f64 and `classes` `[N]`.
    pub fn add(&mut self, rows: &Tensor, classes: &Tensor) {
        let count = rows.size()[0];
        let later = Tensor::arange(count, (Kind::Double, tch::Device::Cpu)).flip([0]); // labels after each
        let weight = self.stays.view([-1, 1]).pow(&later.view([1, -1])); // [K, N]
        let faded = self.stays.pow_tensor_scalar(count); // [K]
        let (by_sum, by_row) = (faded.view([-1, 1]), faded.view([-1, 1, 1]));
        let one_hot = classes.one_hot(self.counts.size()[1]).to_kind(Kind::Double); // [N, C]
        self.counts = &self.counts * by_sum + weight.matmul(&one_hot);
        let weighted = weight.unsqueeze(-1) * rows.unsqueeze(0); // [K, N, F]
        self.sums = &self.sums * &by_row + one_hot.tr().unsqueeze(0).matmul(&weighted);
        self.squares = &self.squares * &by_row + weighted.transpose(1, 2).matmul(&rows.unsqueeze(0));
    }

    /// Multiplies all sums by `keeps`, so that later samples outweigh earlier ones.
    pub fn fade(&mut self, keeps: f64) {
        [&mut self.counts, &mut self.sums, &mut self.squares]
            .into_iter()
            .for_each(|sums| *sums = &*sums * keeps);
    }

    /// Returns `[K, C]` f64: the class prior at each rate, with one pseudo-count per class.
    pub fn prior(&self) -> Tensor {
        let counts = &self.counts + 1.0;
        &counts / counts.sum_dim_intlist([1i64].as_slice(), true, None::<Kind>)
    }

    /// Solves the discriminants: weights `[K, F, C]` and biases `[K, C]` f64 of the classes' log
    /// likelihoods.
    pub fn solve(&self) -> (Tensor, Tensor) {
        let sum =
            |tensor: &Tensor, axis: i64, keep| tensor.sum_dim_intlist([axis].as_slice(), keep, None::<Kind>);
        let all = sum(&self.counts, 1, true).unsqueeze(-1).clamp_min(1e-9); // [K, 1, 1]
        let centre = sum(&self.sums, 1, true) / &all; // [K, 1, F]
        let counts = self.counts.unsqueeze(-1); // [K, C, 1]
        let means = (&self.sums + &centre) / (&counts + 1.0); // [K, C, F], shrunk to the centre
        let crossed = self.sums.transpose(1, 2).matmul(&means);
        let within = &self.squares - &crossed - crossed.transpose(1, 2)
            + means.transpose(1, 2).matmul(&(&counts * &means));
        let squares = self.squares.diagonal(0, 1, 2); // [K, F]
        let variance = (squares / all.squeeze_dim(-1) - centre.squeeze_dim(1).square()).clamp_min(0.0);
        let floor = variance.mean_dim([1i64].as_slice(), true, None::<Kind>) * 1e-3 + 1e-9;
        let ridge = ((variance + floor) * SHRINK).diag_embed(0, 1, 2);
        let covariance = (within + ridge) / (all + SHRINK);
        let weights = Tensor::linalg_solve(&covariance, &means.transpose(1, 2), true); // [K, F, C]
        let bias = sum(&(means.transpose(1, 2) * &weights), 1, false) * -0.5;
        (weights, bias)
    }

    /// Returns the state for a checkpoint.
    pub fn to_saved(&self) -> Result<Saved> {
        Ok(Saved {
            counts: self.counts.flatten(0, -1).try_into().torch()?,
            sums: self.sums.flatten(0, -1).try_into().torch()?,
            squares: self.squares.flatten(0, -1).try_into().torch()?,
        })
    }

    /// Returns to a saved state; returns false where it does not fit.
    pub fn load(&mut self, saved: &Saved) -> bool {
        let parts = [
            (&mut self.counts, &saved.counts),
            (&mut self.sums, &saved.sums),
            (&mut self.squares, &saved.squares),
        ];
        parts.into_iter().all(|(tensor, values)| {
            let fits = tensor.numel() == values.len();
            if fits {
                *tensor = Tensor::from_slice(values).view(tensor.size().as_slice());
            }
            fits
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[f64]) -> Tensor {
        Tensor::from_slice(values).view([-1, 2])
    }

    #[test]
    fn sums_are_weighted_by_age_however_they_come() {
        let (all, classes) = (rows(&[1.0, 2.0, 3.0, -1.0, 0.5, 4.0]), Tensor::from_slice(&[0i64, 1, 0]));
        let paces = [2.0, f64::INFINITY];
        let mut at_once = Sums::new(&paces, 2, 2);
        at_once.add(&all, &classes);
        let mut one_by_one = Sums::new(&paces, 2, 2);
        (0..3).for_each(|at| one_by_one.add(&all.narrow(0, at, 1), &classes.narrow(0, at, 1)));
        for (one, other) in [
            (&at_once.counts, &one_by_one.counts),
            (&at_once.sums, &one_by_one.sums),
            (&at_once.squares, &one_by_one.squares),
        ] {
            assert!(one.allclose(other, 1e-12, 1e-12, false));
        }
        // Class 0 came two labels ago and just now.
        let by_hand = (-2.0f64 / 2.0).exp() + 1.0;
        assert!((at_once.counts.double_value(&[0, 0]) - by_hand).abs() < 1e-12);
        assert_eq!(at_once.counts.double_value(&[1, 0]), 2.0);
        let first = (-1.0f64).exp() * 1.0 + 0.5;
        assert!((at_once.sums.double_value(&[0, 0, 0]) - first).abs() < 1e-12);
    }

    #[test]
    fn classes_that_lie_apart_are_distinguished() {
        let mut sums = Sums::new(&[f64::INFINITY], 2, 2);
        let points: Vec<f64> = (0..40)
            .flat_map(|at| {
                let (class, turn) = (f64::from(at % 2), f64::from(at) * 0.7);
                [4.0 * class + turn.sin(), turn.cos()]
            })
            .collect();
        let classes: Vec<i64> = (0..40).map(|at| at % 2).collect();
        sums.add(&rows(&points), &Tensor::from_slice(&classes));
        let (weights, bias) = sums.solve();
        let said = (rows(&[0.0, 0.0, 4.0, 0.0]).matmul(&weights.get(0)) + bias.get(0)).argmax(1, false);
        assert_eq!(Vec::<i64>::try_from(said).unwrap(), [0, 1]);
    }

    #[test]
    fn a_feature_that_never_changes_does_no_harm() {
        let mut sums = Sums::new(&[10.0], 2, 2);
        sums.add(&rows(&[1.0, 0.0, -1.0, 0.0]), &Tensor::from_slice(&[0i64, 1]));
        let (weights, bias) = sums.solve();
        assert!(
            bool::try_from(weights.isfinite().all()).unwrap()
                && bool::try_from(bias.isfinite().all()).unwrap()
        );
    }
}
