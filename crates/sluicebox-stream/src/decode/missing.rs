//! What is done with a sample of which a value is missing.

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
