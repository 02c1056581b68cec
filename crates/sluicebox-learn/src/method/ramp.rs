//! Ramp of a weight over the first steps. A stream has no end, so where papers use the length of the
//! training, a number of steps is used here.

use crate::messages::Scores;
use crate::method::api::{PseudoLabeller, stateless};
use crate::pseudo_labels::PseudoLabels;

/// Returns the fraction of the first `steps` steps that is over at `step`, 0 to 1; 1 where `steps` is 0.
pub fn progress(step: u64, steps: u64) -> f64 {
    if step < steps { step as f64 / steps as f64 } else { 1.0 }
}

/// Returns exp(-5 (1 - p)²) for the [`progress`] p at `step` (Laine and Aila 2017): from near 0 to 1.
pub fn gaussian(step: u64, steps: u64) -> f64 {
    let missing = 1.0 - progress(step, steps);
    (-5.0 * missing * missing).exp()
}

/// Returns the teacher's probabilities as soft pseudo-labels, each with the [`gaussian`] over `steps` steps as its weight.
pub fn soft(scores: &Scores, steps: u64) -> PseudoLabels {
    let rows = &scores.unlabelled[0];
    let (confidence, class) = rows.max_dim(1, false); // [B], [B]
    let weight = confidence.full_like(gaussian(scores.step, steps));
    PseudoLabels::soft(rows.shallow_clone(), confidence, class, weight)
}

/// Returns a pseudo-labeller for methods that learn nothing from its classes: they are the teacher's, for the report only, and
/// each sample has the [`progress`] over `steps` steps as its weight.
pub fn for_the_report(steps: u64) -> Box<dyn PseudoLabeller> {
    stateless(move |scores: &Scores| {
        let (confidence, class) = scores.unlabelled[0].max_dim(1, false); // [B], [B]
        let weight = confidence.full_like(progress(scores.step, steps));
        PseudoLabels::hard(class, confidence, weight)
    })
}
