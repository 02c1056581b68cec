//! Settings and outputs of the report stage, and how long step results stay on the device.

use crate::engine::drift::Drift;
use crate::engine::metrics::remedy::Remedy;
use sluicebox_core::controls::Controls;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::observers::Observers;
use sluicebox_core::report::progress::ProgressCounter;
use sluicebox_observe::gallery::Gallery;
use sluicebox_stream::sink::Sink;
use std::sync::Arc;

/// Settings of a reporter.
#[derive(Debug, Clone)]
pub struct ReportPlan {
    /// Kinds of the job's sources.
    pub sources: Vec<String>,
    /// Steps per epoch.
    pub epoch_steps: u64,
    /// `flow.window`: most steps in flight.
    pub window: u64,
    /// When step results are fetched.
    pub schedule: FetchSchedule,
    /// `report.window`: newest samples with a known class over which accuracy is also reported.
    pub recent: u64,
    /// Settings of the drift detector.
    pub drift: Drift,
    /// Fixed delay, in steps, between a drift alarm and the decay of replay weights: at least as long as the
    /// feedback to the source takes, and constant, so that a resumed run reacts at the same step.
    pub alarm_steps: u64,
    /// `stop.patience`: epochs without a better evaluation after which the job ends.
    pub patience: u64,
    /// `checkpoint.best`: whether the checkpoint of the best evaluation is kept.
    pub keeps_best: bool,
    /// Whether the method learns from unlabelled samples.
    pub learns_unlabelled: bool,
    /// What its alarms advise.
    pub remedy: Remedy,
    /// The job has a ledger, which needs the predictions of each step.
    pub for_ledger: bool,
}

/// Default of `report.fetch_steps`.
pub const FETCH_STEPS: u64 = 16;

/// When step results are fetched from the device, and when they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchSchedule {
    /// Steps per fetch.
    pub steps: u64,
    /// Steps between a fetch and the reading of its results, 0 or 1. On a GPU it is 1: the report stage then waits
    /// for the GPU's work of the step before, and the GPU goes on with that of the present step.
    pub later: u64,
}

impl FetchSchedule {
    /// On a CPU no result has to be waited for: `asked` steps per fetch (`report.fetch_steps`), and one step where
    /// a ledger is to be up to date.
    pub fn on_cpu(asked: Option<u64>, for_ledger: bool) -> Self {
        Self { steps: if for_ledger { 1 } else { asked.unwrap_or(FETCH_STEPS) }, later: 0 }
    }

    /// On a GPU a fetch is of `asked` steps. A step whose results the ledger has not had is still in flight, so that
    /// with a ledger the steps of a fetch must fit into `flow.window`; an `asked` number that does not is refused.
    pub fn on_gpu(asked: Option<u64>, for_ledger: bool, window: u64) -> Result<Self> {
        let later = u64::from(!for_ledger || window > 1);
        let most = if for_ledger { window - later } else { u64::MAX };
        if let Some(asked) = asked.filter(|asked| *asked > most) {
            return Err(Error::Request(format!(
                "report.fetch_steps = {asked} needs flow.window = {} or more in a job with a ledger on a GPU, but it \
                 is {window}: a step is in flight until the ledger has its results; raise flow.window, or leave \
                 report.fetch_steps out",
                asked + 1
            )));
        }
        Ok(Self { steps: asked.unwrap_or(FETCH_STEPS).min(most), later })
    }

    /// Steps after which the results of a step are known at the latest: the shortest possible delay of what is made
    /// of them.
    pub fn lag(&self) -> u64 {
        self.steps + self.later
    }
}

/// Outputs of a job.
#[derive(Default)]
pub struct Outputs {
    /// Outputs that receive the prediction of each sample.
    pub sinks: Vec<Box<dyn Sink>>,
    /// Observers, which receive the report of each epoch.
    pub observers: Observers,
    /// Progress of the job.
    pub progress: Arc<ProgressCounter>,
    /// Thumbnails, if a page shows them.
    pub gallery: Option<Gallery>,
    /// Tells the source when the job ends.
    pub controls: Controls,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_gpu(asked: Option<u64>, window: u64) -> Result<FetchSchedule> {
        FetchSchedule::on_gpu(asked, true, window)
    }

    #[test]
    fn with_a_ledger_a_fetch_fits_into_the_window() {
        for window in 1..40 {
            let schedule = on_gpu(None, window).unwrap();
            assert!((1..=window).contains(&schedule.lag()), "{schedule:?} at window {window}");
            let asked: Vec<u64> = (1..40).filter(|asked| on_gpu(Some(*asked), window).is_ok()).collect();
            assert_eq!(asked, (1..=window.saturating_sub(1).max(1)).collect::<Vec<_>>());
        }
        assert_eq!(on_gpu(None, 1).unwrap(), FetchSchedule { steps: 1, later: 0 });
        assert_eq!(on_gpu(None, 2).unwrap(), FetchSchedule { steps: 1, later: 1 });
        assert_eq!(on_gpu(None, 40).unwrap(), FetchSchedule { steps: FETCH_STEPS, later: 1 });
        let refused = on_gpu(Some(16), 2).unwrap_err().to_string();
        assert!(refused.starts_with("report.fetch_steps = 16 needs flow.window = 17 or more"), "{refused}");
    }

    #[test]
    fn without_a_ledger_a_fetch_is_as_long_as_is_asked() {
        assert_eq!(FetchSchedule::on_gpu(Some(99), false, 1).unwrap(), FetchSchedule { steps: 99, later: 1 });
        assert_eq!(FetchSchedule::on_cpu(None, false), FetchSchedule { steps: FETCH_STEPS, later: 0 });
        assert_eq!(FetchSchedule::on_cpu(Some(9), true), FetchSchedule { steps: 1, later: 0 });
    }
}
