//! Class priors that answers are corrected to, and a shift of outputs that makes them match a given one. That of the
//! present stream is estimated from answers for unlabelled samples (Saerens et al. 2002, "Adjusting the outputs of a
//! classifier to new a priori probabilities", §2.2) in [`crate::adapt::correction_fit`].

use crate::adapt::correction::{LEAST, factors, reweighted};
use serde::{Deserialize, Serialize};

/// Target class prior of predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// What the network says of a blank sample, which is of no class, is taken off: it prefers the classes that it has learned
    /// from most (CDMAD: Lee and Kim 2024). Needs to know neither how often classes come nor that they come alike.
    Blank,
}

/// Returns the shift `[C]` of log probabilities that takes off those of a blank sample, `probabilities` `[C]`.
pub fn without_blank(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|of_class| -of_class.max(LEAST).ln()).collect()
}

/// Iterations per step. Few suffice, since each step continues from the result of the last.
const ITERATIONS: usize = 2;

/// Finds the shift `[C]` of log probabilities with which the mean of the probabilities `rows` `[W, C]`, each row normalised
/// again, is `prior` `[C]`: Sinkhorn's iteration, as in label allocation (Tai et al. 2021, "Sinkhorn label allocation").
/// Starts from the shift `before` and adds one pseudo-count per class, so that no class becomes impossible.
pub fn match_prior(rows: &[f32], prior: &[f32], before: &[f32]) -> Vec<f32> {
    let one = 1.0 / (rows.len() / prior.len()).max(1) as f32;
    let mut shift = before.to_vec();
    for _ in 0..ITERATIONS {
        let factors = factors(&shift);
        let mut mean = vec![0.0; prior.len()];
        for row in rows.chunks_exact(prior.len()) {
            let shifted = reweighted(row, &factors, one);
            mean.iter_mut().zip(shifted).for_each(|(mean, of_class)| *mean += of_class);
        }
        let wanted = prior.iter().zip(&mean).map(|(prior, mean)| ((prior + one) / (mean + one)).ln());
        shift.iter_mut().zip(wanted).for_each(|(shift, further)| *shift += further);
    }
    shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_blank_sample_is_taken_off() {
        let probabilities = |logits: [f32; 3]| {
            let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
            logits.map(|logit| logit.exp() / sum)
        };
        let shift = without_blank(&probabilities([1.5, 0.0, -0.5]));
        let found: Vec<f32> = reweighted(&probabilities([2.0, 1.0, 0.0]), &factors(&shift), 1.0).collect();
        let close =
            found.iter().zip([0.2741, 0.4519, 0.2741]).all(|(found, hand)| (found - hand).abs() < 1e-4);
        assert!(close, "{found:?}");
    }

    #[test]
    fn predictions_are_as_frequent_as_the_prior_says() {
        // Half of the samples look like the first of three classes.
        let logs = [[3f32, 0.0, 1.0], [2.0, 0.0, 0.0], [0.0, 2.0, 1.0], [0.0, 0.0, 1.5]];
        let row = |logs: &[f32; 3]| {
            let sum: f32 = logs.iter().map(|log| log.exp()).sum();
            logs.map(|log| log.exp() / sum)
        };
        let rows = logs.iter().map(row).collect::<Vec<_>>().concat().repeat(100);
        let prior = [0.2f32, 0.5, 0.3];
        let mut shift = vec![0.0; 3];
        (0..100).for_each(|_| shift = match_prior(&rows, &prior, &shift));
        let mut mean = [0.0; 3];
        for row in rows.chunks_exact(3) {
            let shifted = [0, 1, 2].map(|class| row[class] * shift[class].exp());
            let sum: f32 = shifted.iter().sum();
            (0..3).for_each(|class| mean[class] += shifted[class] / sum / 400.0);
        }
        let gap = mean.iter().zip(prior).map(|(mean, prior)| (mean - prior).abs()).fold(0.0, f32::max);
        assert!(gap < 1e-3, "{mean:?}");
        for (rows, prior) in [(&[][..], prior), (&rows, [0.0, 0.5, 0.5])] {
            let shift = match_prior(rows, &prior, &[0.0; 3]);
            assert!(shift.iter().all(|of_class| of_class.is_finite()), "{shift:?}");
        }
    }
}
