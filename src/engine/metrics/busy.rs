//! Seconds for which timely scheduled the operators of each stage. `flow` adds to them; the reporter takes
//! them at each epoch's end.

use sluicebox_core::report::pipeline::PIPELINE;

/// Seconds since the beginning of the epoch.
#[derive(Debug, Clone, Default)]
pub struct Busy {
    /// By place of the stage in [`PIPELINE`].
    stages: [f64; PIPELINE.stages.len()],
    known: bool,
    /// Seconds in which no operator had work.
    pub parked_s: f64,
}

impl Busy {
    /// Returns the place in [`PIPELINE`] of the stage to which the operator called `operator` belongs.
    /// Operators that are no stage belong to the ledger, which is made of many.
    pub fn stage_of(operator: &str) -> Option<usize> {
        PIPELINE.position(operator).or_else(|| PIPELINE.position("ledger"))
    }

    /// Adds `seconds` to the stage at place `stage`.
    pub fn add(&mut self, stage: usize, seconds: f64) {
        self.known = true;
        self.stages[stage] += seconds;
    }

    /// Seconds of the stage called `name`; none if nothing was recorded for it.
    pub fn of(&self, name: &str) -> Option<f64> {
        let seconds = self.stages[PIPELINE.position(name)?];
        (self.known && seconds > 0.0).then_some(seconds)
    }
}
