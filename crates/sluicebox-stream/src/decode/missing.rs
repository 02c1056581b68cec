//! What stands for a missing value, and what is done with a sample of which one is missing.

use crate::decode::blank::trimmed_bytes;
use serde::{Deserialize, Serialize};

/// What is done with a sample of which a value is missing. One without any value is always bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// It goes to the dead letters.
    #[default]
    Drop,
    /// The feature's running mean takes its place; 0 before the first value.
    Mean,
    /// The feature's last value takes its place; 0 before the first.
    Last,
}

impl Missing {
    /// Returns whether such samples are dropped, which is the default.
    pub fn is_drop(&self) -> bool {
        *self == Missing::Drop
    }
}

/// The default of `missing_markers`.
pub fn missing_markers() -> Vec<String> {
    ["", "?", "NaN", "NA", "N/A", "#N/A", "<NA>", "NULL"].map(String::from).to_vec()
}

/// Returns whether `missing_markers` is the default.
pub fn are_usual_markers(markers: &[String]) -> bool {
    markers == missing_markers()
}

/// Returns whether a text is one of those that stand for a missing value or class; upper or lower case.
pub fn is_missing(markers: &[String], text: &[u8]) -> bool {
    let text = trimmed_bytes(text);
    markers.iter().any(|marker| marker.as_bytes().eq_ignore_ascii_case(text))
}
