//! Ramp of a weight over the first steps. A stream has no end, so where papers use the length of the
//! training, a number of steps is used here.

/// Returns the fraction of the first `steps` steps that is over at `step`, 0 to 1; 1 where `steps` is 0.
pub fn progress(step: u64, steps: u64) -> f64 {
    if step < steps { step as f64 / steps as f64 } else { 1.0 }
}
