//! The report of an epoch.

use crate::report::confusion::Confusion;
use crate::report::ledger::LedgerSection;
use crate::report::meters::{
    ClassMeters, JobMeters, OperatorMeters, PhaseMeters, ReasonMeters, SourceMeters, WorkerMeters,
};
use crate::report::named::Named;
use serde::{Deserialize, Serialize};

/// Report of an epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// End of the epoch: ms since 1970, UTC.
    pub ended_ms: u64,
    /// Numbers of the whole job.
    #[serde(flatten)]
    pub job: JobMeters,
    /// Numbers of each class, in the format's order; of the 1000 with most pseudo-labels if there are more.
    #[serde(default)]
    pub classes: Vec<Named<ClassMeters>>,
    /// Numbers of each operator, in the dataflow's order.
    #[serde(default)]
    pub operators: Vec<Named<OperatorMeters>>,
    /// Numbers of each worker, in jobs that have several.
    #[serde(default)]
    pub workers: Vec<Named<WorkerMeters>>,
    /// Numbers of each source, in the job's order.
    #[serde(default)]
    pub sources: Vec<Named<SourceMeters>>,
    /// Numbers of each phase that has begun, if the epoch was evaluated.
    #[serde(default)]
    pub phases: Vec<Named<PhaseMeters>>,
    /// Counts by reason, the most frequent first, at most 16.
    #[serde(default)]
    pub reasons: Vec<Named<ReasonMeters>>,
    /// Confusion matrices.
    #[serde(default)]
    pub confusions: Vec<Confusion>,
    /// Statistics of the ledger.
    #[serde(default)]
    pub ledger: Option<LedgerSection>,
}
