//! `[log]`: the keys of the write-ahead log.

use serde::{Deserialize, Serialize};
use sluicebox_core::config::document::Settings;
use sluicebox_core::config::range::at_least;
use std::time::Duration;

/// `[log]`: write-ahead log of samples that cannot be read again, until a checkpoint contains them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Failure that an acknowledged sample survives.
    pub durability: Durability,
    /// Bytes above which ingest is slowed.
    pub max_bytes: u64,
    /// Age of the oldest sample above which ingest is slowed.
    #[serde(with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
}

/// Failure that an acknowledged sample survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// The end of this process: the sample is in the operating system's cache.
    #[default]
    Os,
    /// The crash of the machine: the sample is on disk.
    Fsync,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { durability: Durability::Os, max_bytes: 4 << 30, max_age: None }
    }
}

impl Settings for LogSettings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "max_bytes", self.max_bytes as usize, 1 << 26);
        faults
    }
}
