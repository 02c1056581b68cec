//! The class prior of the present stream, from unlabelled samples: expectation maximisation on
//! what a classifier says of the newest of them (Saerens et al. 2002, "Adjusting the outputs of a
//! classifier to new a priori probabilities", §2.2).

use tch::{Kind, Tensor};

/// Iterations a step: each begins where the step before ended, so few do.
const ITERATIONS: usize = 2;

/// The log prior `[…, C]` under which samples of `likelihoods` `[…, W, C]` (log likelihoods of the
/// classes, each row up to a constant) are likeliest. Begins with the log prior `before` `[…, C]`;
/// one sample of each class is taken for seen, so that none becomes impossible.
pub fn present(likelihoods: &Tensor, before: &Tensor) -> Tensor {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prior_of_a_shifted_stream_is_found() {
        // Two classes, told apart with likelihoods 0.8 and 0.2; 70 of 100 samples look like the first.
        let row = |first: f64| [first.ln(), (1.0 - first).ln()];
        let rows: Vec<f64> = (0..100).flat_map(|at| row(if at < 70 { 0.8 } else { 0.2 })).collect();
        let rows = Tensor::from_slice(&rows).view([100, 2]);
        let even = Tensor::from_slice(&[0.5f64, 0.5]).log();
        let mut found = even.shallow_clone();
        (0..100).for_each(|_| found = present(&rows, &found));
        let first = found.exp().double_value(&[0]);
        // Likeliest with one more sample of each class:
        // 70 log(0.2 + 0.6 p) + 30 log(0.8 - 0.6 p) + log p + log(1 - p) is level there.
        let slope = |p: f64| 42.0 / (0.2 + 0.6 * p) - 18.0 / (0.8 - 0.6 * p) + 1.0 / p - 1.0 / (1.0 - p);
        assert!(slope(first - 1e-3) > 0.0 && slope(first + 1e-3) < 0.0, "{first}");
        let batched = present(&Tensor::stack(&[&rows, &rows], 0), &Tensor::stack(&[&even, &found], 0));
        assert!(batched.get(0).equal(&present(&rows, &even)));
        assert!((batched.exp().double_value(&[1, 0]) - first).abs() < 1e-3);
    }
}
