//! What verdicts look at: a report, the epochs before it, and the newest drift alarm.

use sluicebox_core::report::{JobMeters, Mark, Report};

/// Epochs before the newest that it is compared with.
pub(super) const BEFORE: usize = 10;

/// What verdicts look at.
pub struct Evidence<'a> {
    /// The newest report.
    pub newest: &'a Report,
    /// Numbers of up to ten epochs before it, the oldest first.
    pub before: &'a [JobMeters],
    /// The newest drift alarm up to it, where it is known.
    pub drifted: Option<&'a Mark>,
    /// Time from which ages are counted: ms since 1970, UTC.
    pub now_ms: u64,
}
