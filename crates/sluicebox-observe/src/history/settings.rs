//! `[history]`: how much of a job's reports is kept.

use serde::{Deserialize, Serialize};
use sluicebox_core::config::document::Settings;
use sluicebox_core::config::range::at_least;

/// `[history]`: retention of reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// Newest epochs kept one by one, and number of points kept of each coarser resolution.
    pub epochs: u64,
    /// Newest epochs whose details (classes, operators, confusion) are kept.
    pub details: u64,
    /// Newest lines of the job's log that are kept.
    pub lines: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { epochs: 100_000, details: 1000, lines: 10_000 }
    }
}

impl Settings for History {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "epochs", self.epochs as usize, 64);
        at_least(&mut faults, "details", self.details as usize, 1);
        at_least(&mut faults, "lines", self.lines as usize, 1);
        faults
    }
}
