//! Class priors that answers are corrected to, and a shift of outputs that makes them match a given one. That of the
//! present stream is estimated from answers for unlabelled samples (Saerens et al. 2002, "Adjusting the outputs of a
//! classifier to new a priori probabilities", §2.2) in [`crate::adapt::correction_fit`].

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
}
