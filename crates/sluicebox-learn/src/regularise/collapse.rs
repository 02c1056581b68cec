//! Terms against features that collapse: onto few directions, or into one point. They are of the student's features of a step,
//! labelled samples and accepted views.
//!
//! - `feature_variance` (VICReg, Bardes et al. 2022, §4.1): how much the standard deviation of each feature falls short of 1,
//!   a mean over features.
//! - `feature_covariance` (the same): the squared covariances of different features, summed and divided by their number.
//! - `feature_uniformity` (Wang and Isola 2020, §4.1): the logarithm of the mean of exp(-2 d²) over pairs of samples, of which d
//!   is the distance of their features, scaled to length 1.
//!
//! VICReg's third term, which draws two views of a sample together, is left to the methods: that is what they do.

use crate::loss::unit;
use crate::method::api::Forward;
use crate::regularise::api::OutputTerm;
use tch::{Kind, Tensor};

/// Keeps the gradient of a square root finite, as in the paper.
const LEAST: f64 = 1e-4;

/// Which of the terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collapse {
    Variance,
    Covariance,
    Uniformity,
}

/// Returns the features `[N, F]` f32 of a step, and which of its samples count: `[N]` f32.
fn features(forward: &Forward<'_>) -> Option<(Tensor, Tensor)> {
    let labelled = forward.labelled.iter().map(|labelled| &labelled.output.features);
    let accepted = forward.weight.gt(0.0).to_kind(Kind::Float); // [A]
    let ones = labelled.clone().map(|rows| accepted.new_ones([rows.size()[0]], (Kind::Float, rows.device())));
    let counts: Vec<Tensor> = ones.chain(forward.strong.iter().map(|_| accepted.shallow_clone())).collect();
    let rows: Vec<Tensor> = labelled
        .chain(forward.strong.iter().map(|view| &view.features))
        .map(|rows| rows.to_kind(Kind::Float))
        .collect();
    (!rows.is_empty()).then(|| (Tensor::cat(&rows, 0), Tensor::cat(&counts, 0)))
}

impl OutputTerm for Collapse {
    fn loss(&mut self, forward: &Forward<'_>) -> Option<Tensor> {
        let (rows, counts) = features(forward)?;
        let width = rows.size()[1] as f64;
        if *self == Collapse::Uniformity {
            let rows = unit(&rows);
            let squared: Tensor = 2.0 - rows.matmul(&rows.tr()) * 2.0; // [N, N]
            let pairs = (counts.unsqueeze(1) * counts.unsqueeze(0)).triu(1);
            let sum = ((squared * -2.0).exp() * &pairs).sum(Kind::Float);
            let mean: Tensor = sum / pairs.sum(Kind::Float).clamp_min(1.0);
            return Some(mean.clamp_min(LEAST).log());
        }
        let divisor = (counts.sum(Kind::Float) - 1.0).clamp_min(1.0);
        let mean = rows.tr().mv(&counts) / counts.sum(Kind::Float).clamp_min(1.0); // [F]
        let gaps = (rows - mean) * counts.unsqueeze(1); // [N, F]
        if *self == Collapse::Variance {
            let variance = gaps.square().sum_dim_intlist([0i64].as_slice(), false, Kind::Float) / divisor;
            let short: Tensor = 1.0 - (variance + LEAST).sqrt();
            return Some(short.clamp_min(0.0).mean(Kind::Float));
        }
        let covariance = gaps.tr().matmul(&gaps) / divisor; // [F, F]
        let (all, own) = (covariance.square().sum(Kind::Float), covariance.diag(0).square().sum(Kind::Float));
        Some((all - own) / width)
    }
}
