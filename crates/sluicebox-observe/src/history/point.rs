//! A point of a chart: one or more epochs.

use serde::{Deserialize, Serialize};
use sluicebox_core::report::JobMeters;

/// One or more epochs, folded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The first epoch.
    pub first_epoch: u64,
    /// The last epoch.
    pub last_epoch: u64,
    /// End of the last epoch: ms since 1970, UTC.
    pub ended_ms: u64,
    /// Mean of each number; of totals the last value.
    pub mean: JobMeters,
    /// Minimum of each number.
    pub low: JobMeters,
    /// Maximum of each number.
    pub high: JobMeters,
}
