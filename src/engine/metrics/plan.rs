//! Settings and outputs of the report stage.

use crate::engine::drift::Drift;
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
    /// Steps per readback from the device.
    pub fetch_steps: u64,
    /// `report.window`: newest samples with a known class over which accuracy is also reported.
    pub recent: u64,
    /// Settings of the drift detector.
    pub drift: Drift,
    /// Fixed delay, in steps, between a drift alarm and the decay of replay weights: at least as long as the
    /// feedback to the source takes, and constant, so that a resumed run reacts at the same step.
    pub alarm_steps: u64,
    /// The job has a ledger, which needs the predictions of each step.
    pub for_ledger: bool,
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
}
