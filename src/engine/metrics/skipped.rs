//! Updates that were skipped, as loss or gradient was not finite. Several in a row end the job: its weights are beyond
//! learning.

use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::messages::outcome;

/// Steps in a row with a skipped update after which the job ends.
pub const MOST_IN_A_ROW: u64 = 10;

/// Counts of skipped updates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Steps of the job in which an update was skipped.
    pub job: u64,
    /// Those of the current epoch.
    pub epoch: u64,
    /// Those since the last update that was not skipped.
    in_a_row: u64,
}

impl Skipped {
    /// Returns whether the state is better not saved: the newest updates were skipped, so that the one before may have
    /// been too large, though its weights are finite. At the `end` of a job one bad batch is more likely.
    pub fn is_suspect(&self, end: bool) -> bool {
        self.in_a_row > if end { MOST_IN_A_ROW / 3 } else { 0 }
    }

    /// Adds a step and what came of it: see [`outcome`].
    pub fn add(&mut self, step: u64, what: f32) -> Result<()> {
        let skipped = what.is_nan() || what == outcome::TOO_SMALL;
        self.job += u64::from(skipped);
        self.epoch += u64::from(skipped);
        match what {
            what if what.is_nan() => self.in_a_row += 1,
            outcome::UPDATED => self.in_a_row = 0,
            _ => {}
        }
        if what.is_nan() && self.in_a_row == 1 {
            tracing::warn!(
                "step {step}: loss or gradient is not finite, so the update is skipped (skipped: {} in the job); \
                 {MOST_IN_A_ROW} in a row end the job",
                self.job
            );
        }
        if self.in_a_row < MOST_IN_A_ROW {
            return Ok(());
        }
        Err(Error::Operator {
            operator: "learn".into(),
            step,
            reason: format!(
                "loss or gradient was not finite in {MOST_IN_A_ROW} updates in a row; all of them were skipped. Lower \
                 optimiser.learning_rate, set regularise.clip_gradient, and look for huge values in the samples. No \
                 checkpoint was written since; if it ends so again after a restart, remove the newest one"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_in_a_row_end_the_job_and_steps_without_an_update_do_not_count() {
        let mut skipped = Skipped::default();
        for step in 0..9 {
            skipped.add(step, f32::NAN).unwrap();
            skipped.add(step, outcome::NOTHING).unwrap();
            skipped.add(step, outcome::TOO_SMALL).unwrap();
        }
        assert_eq!((skipped.job, skipped.epoch), (18, 18));
        skipped.clone().add(9, outcome::UPDATED).unwrap();
        let error = skipped.add(9, f32::NAN).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        let text = error.to_string();
        assert!(text.starts_with("operator \"learn\" failed at step 9: "), "{text}");
        assert!(
            text.contains("optimiser.learning_rate") && text.contains("regularise.clip_gradient"),
            "{text}"
        );
        assert!(skipped.is_suspect(true) && !Skipped::default().is_suspect(false));
        let one = Skipped { in_a_row: 1, ..Skipped::default() };
        assert!(one.is_suspect(false) && !one.is_suspect(true));
        let mut recovered = Skipped { in_a_row: 9, ..Skipped::default() };
        recovered.add(0, outcome::UPDATED).unwrap();
        recovered.add(1, f32::NAN).unwrap();
    }
}
