//! Lines of a job's log.

use serde::{Deserialize, Serialize};

/// A line of the job's log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Time: ms since 1970, UTC.
    pub at_ms: u64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Module that wrote the line.
    pub module: String,
    /// Text of the line.
    pub text: String,
}
