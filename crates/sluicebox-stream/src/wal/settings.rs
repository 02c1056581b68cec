//! `[log]`: the keys of the write-ahead log.

use serde::{Deserialize, Serialize};
use sluicebox_core::config::document::Settings;
use sluicebox_core::config::range::at_least;
use std::time::Duration;

/// Smallest `max_bytes`.
const LEAST_BYTES: u64 = 64 << 10;
/// Usual bytes of a segment.
const SEGMENT_BYTES: u64 = 32 << 20;
/// A segment holds at most this fraction (1/16) of the log's maximum size and age, so that trimming
/// frees most of what was consumed.
pub(super) const LEAST_SEGMENTS: u32 = 16;
/// Maximum number of segments of a full log: each is a folder with files of its own.
const MOST_SEGMENTS: u64 = 4096;

/// `[log]`: write-ahead log of samples that cannot be read again, until a checkpoint contains them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Failure that an acknowledged sample survives.
    pub durability: Durability,
    /// Bytes above which ingest is slowed.
    pub max_bytes: u64,
    /// Bytes at which a segment is full. It stays in memory until then, and segments are trimmed as a
    /// whole. By default 32 MiB, or a sixteenth of `max_bytes` if that is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_bytes: Option<u64>,
    /// Age of the oldest sample above which ingest is slowed.
    #[serde(with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub max_age: Option<Duration>,
}

/// Failure that an acknowledged sample survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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
        Self { durability: Durability::Os, max_bytes: 4 << 30, segment_bytes: None, max_age: None }
    }
}

impl LogSettings {
    /// Returns the bytes at which a segment is full.
    pub fn segment_bytes(&self) -> u64 {
        let most = self.max_bytes / u64::from(LEAST_SEGMENTS);
        self.segment_bytes.unwrap_or(SEGMENT_BYTES).min(most)
    }

    /// Returns the maximum bytes of one write. It is half of `max_bytes`: a log that is less than half
    /// full may never be trimmed, so a larger write might wait for ever.
    pub fn most_at_once(&self) -> u64 {
        (self.max_bytes / 2).min(u32::MAX.into())
    }
}

impl Settings for LogSettings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "max_bytes", self.max_bytes as usize, LEAST_BYTES as usize);
        if let (Some(bytes), true) = (self.segment_bytes, faults.is_empty()) {
            let most = self.max_bytes / u64::from(LEAST_SEGMENTS);
            let least = self.max_bytes.div_ceil(MOST_SEGMENTS).max(LEAST_BYTES / u64::from(LEAST_SEGMENTS));
            if !(least..=most).contains(&bytes) {
                let reason = format!(
                    "{bytes} does not suit log.max_bytes = {}: a full log has {LEAST_SEGMENTS} to \
                     {MOST_SEGMENTS} segments, so it must be from {least} to {most}",
                    self.max_bytes
                );
                faults.push(("segment_bytes", reason));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(max_bytes: u64, segment_bytes: Option<u64>) -> Vec<(&'static str, String)> {
        LogSettings { max_bytes, segment_bytes, ..LogSettings::default() }.faults()
    }

    #[test]
    fn a_segment_suits_the_log() {
        for (max_bytes, segment_bytes) in
            [(64 << 10, None), (64 << 10, Some(4096)), (4 << 30, Some(1 << 20)), (4 << 30, Some(256 << 20))]
        {
            assert_eq!(faults(max_bytes, segment_bytes), [], "{max_bytes} {segment_bytes:?}");
        }
        for (max_bytes, segment_bytes, said) in [
            ((64 << 10) - 1, None, "it must be 65536 or more"),
            (64 << 10, Some(4095), "it must be from 4096 to 4096"),
            (64 << 10, Some(4097), "it must be from 4096 to 4096"),
            (4 << 30, Some((1 << 20) - 1), "it must be from 1048576 to 268435456"),
            (4 << 30, Some((256 << 20) + 1), "it must be from 1048576 to 268435456"),
        ] {
            let faults = faults(max_bytes, segment_bytes);
            assert!(faults.len() == 1 && faults[0].1.contains(said), "{faults:?}");
        }
        let usual = |max_bytes| LogSettings { max_bytes, ..LogSettings::default() }.segment_bytes();
        assert_eq!((usual(4 << 30), usual(64 << 20)), (32 << 20, 4 << 20));
    }
}
