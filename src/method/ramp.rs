//! How a weight comes up over the first steps. A stream has no end, so what papers tie to the
//! length of the training is tied to a number of steps here.

/// How much of the first `steps` steps is over at `step`: from 0 to 1. 1 where `steps` is 0.
pub fn progress(step: u64, steps: u64) -> f64 {
    if step < steps { step as f64 / steps as f64 } else { 1.0 }
}
