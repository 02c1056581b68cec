//! Message from the report stage to the commit stage.

use sluicebox_core::report::Report;
use sluicebox_core::step::{Message, StepInfo};

/// report → commit: a step whose result has been added up.
#[derive(Debug)]
pub struct Reported {
    /// Metadata of the step.
    pub info: StepInfo,
    /// Report of the epoch that the step ends, still without the numbers of the ledger and the machine.
    pub report: Option<Box<Report>>,
    /// Steps at whose start replay weights decay, because of drift alarms read back with this step.
    pub decay_replay_at: Vec<u64>,
}

impl Message for Reported {
    fn info(&mut self) -> &mut StepInfo {
        &mut self.info
    }
}
