//! Class priors: that of the present stream, by expectation maximisation over a classifier's
//! outputs for the newest unlabelled samples (Saerens et al. 2002, "Adjusting the outputs of a
//! classifier to new a priori probabilities", §2.2), and a shift of outputs that makes them match a
//! given prior.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Target class prior of predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prior {
    /// The prior of the training samples: no correction.
    None,
    /// The present stream's prior, estimated from unlabelled samples.
    Present,
    /// The prior of the replayed labelled samples, which the job declares to be the stream's: predictions are
    /// shifted to these class frequencies.
    Labelled,
    /// All classes equally frequent; predictions are shifted to that.
    Uniform,
}

/// Iterations per step. Few suffice, since each step continues from the result of the last.
const ITERATIONS: usize = 2;

/// Estimates the log prior `[…, C]` under which samples with `likelihoods` `[…, W, C]` (log
/// likelihoods of the classes, each row up to a constant) are likeliest. Starts from the log prior
/// `before` `[…, C]` and adds one pseudo-count per class, so that no class becomes impossible.
pub fn estimate_prior(likelihoods: &Tensor, before: &Tensor) -> Tensor {
    let size = likelihoods.size();
    let (samples, classes) = (size[size.len() - 2], size[size.len() - 1]);
    let mut prior = before.shallow_clone();
    for _ in 0..ITERATIONS {
        let rows = (likelihoods + prior.unsqueeze(-2)).softmax(-1, likelihoods.kind());
        let counts = rows.sum_dim_intlist([-2i64].as_slice(), false, None::<Kind>);
        prior = ((counts + 1.0) / (samples + classes) as f64).log();
    }
    prior
}

/// Finds the shift `[C]` with which the mean of softmax(`rows` `[W, C]` + shift) is the prior whose
/// logarithm is `log_prior` `[C]`: Sinkhorn's iteration, as in label allocation (Tai et al. 2021,
/// "Sinkhorn label allocation"). Starts from the shift `before` and adds one pseudo-count per
/// class, so that no class becomes impossible.
pub fn match_prior(rows: &Tensor, log_prior: &Tensor, before: &Tensor) -> Tensor {
    let samples = rows.size()[0].max(1) as f64;
    let (mut shift, one) = (before.shallow_clone(), 1.0 / samples);
    let prior = log_prior.exp();
    for _ in 0..ITERATIONS {
        let mean =
            (rows + &shift).softmax(1, Kind::Float).sum_dim_intlist([0i64].as_slice(), false, None::<Kind>)
                / samples;
        shift = ((&prior + one) / (mean + one)).log() + &shift;
    }
    shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_are_as_frequent_as_the_prior_says() {
        // Half of the samples look like the first of three classes.
        let rows = Tensor::from_slice(&[3f32, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 1.5]);
        let rows = rows.view([4, 3]).repeat([100, 1]);
        let log_prior = Tensor::from_slice(&[0.2f32, 0.5, 0.3]).log();
        let mut shift = log_prior.zeros_like();
        (0..100).for_each(|_| shift = match_prior(&rows, &log_prior, &shift));
        let mean = (&rows + &shift).softmax(1, Kind::Float).mean_dim([0i64].as_slice(), false, Kind::Float);
        let gap = (mean - log_prior.exp()).abs().max().double_value(&[]);
        assert!(gap < 1e-3, "{gap}");
        let nothing = Tensor::zeros([0, 3], (Kind::Float, tch::Device::Cpu));
        assert!(match_prior(&nothing, &log_prior, &log_prior).isfinite().all().int64_value(&[]) == 1);
        let never = Tensor::from_slice(&[0f32, 0.5, 0.5]).log();
        assert!(match_prior(&rows, &never, &log_prior.zeros_like()).isfinite().all().int64_value(&[]) == 1);
    }

    #[test]
    fn the_prior_of_a_shifted_stream_is_found() {
        // Two classes with likelihoods 0.8 and 0.2; 70 of 100 samples look like the first.
        let row = |first: f64| [first.ln(), (1.0 - first).ln()];
        let rows: Vec<f64> = (0..100).flat_map(|at| row(if at < 70 { 0.8 } else { 0.2 })).collect();
        let rows = Tensor::from_slice(&rows).view([100, 2]);
        let even = Tensor::from_slice(&[0.5f64, 0.5]).log();
        let mut found = even.shallow_clone();
        (0..100).for_each(|_| found = estimate_prior(&rows, &found));
        let first = found.exp().double_value(&[0]);
        // Maximum with one pseudo-count per class: the slope of
        // 70 log(0.2 + 0.6 p) + 30 log(0.8 - 0.6 p) + log p + log(1 - p) is 0 there.
        let slope = |p: f64| 42.0 / (0.2 + 0.6 * p) - 18.0 / (0.8 - 0.6 * p) + 1.0 / p - 1.0 / (1.0 - p);
        assert!(slope(first - 1e-3) > 0.0 && slope(first + 1e-3) < 0.0, "{first}");
        let batched = estimate_prior(&Tensor::stack(&[&rows, &rows], 0), &Tensor::stack(&[&even, &found], 0));
        assert!(batched.get(0).equal(&estimate_prior(&rows, &even)));
        assert!((batched.exp().double_value(&[1, 0]) - first).abs() < 1e-3);
    }
}
