//! How full the log is.

use std::time::Duration;

/// Fill level of the log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fill {
    /// Bytes in the log: payloads plus 64 per record.
    pub bytes: u64,
    /// Bytes at which feeders are slowed.
    pub max_bytes: u64,
    /// Age of the oldest segment.
    pub age: Duration,
    /// Age at which feeders are slowed.
    pub max_age: Option<Duration>,
}

impl Fill {
    /// Returns the fill as a fraction of the bytes that fit.
    pub fn fraction(&self) -> f64 {
        self.bytes as f64 / self.max_bytes as f64
    }

    /// Returns whether to free space: the log has reached half of its maximum size or age.
    pub fn is_half_full(&self) -> bool {
        self.bytes >= self.max_bytes / 2 || self.max_age.is_some_and(|most| self.age >= most / 2)
    }
}
