//! Marks: what happened to a job at a moment, such as a drift alarm or a checkpoint.

use serde::{Deserialize, Serialize};

/// What a mark tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MarkKind {
    /// The drift detector raised an alarm.
    #[default]
    Drift,
    /// The gate closed for a class: it accepts no pseudo-label of it.
    Gate,
    /// The filter judges nothing, or a class is no longer answered.
    Alarm,
    /// The job went on from a checkpoint.
    Restart,
    /// A checkpoint was written.
    Checkpoint,
    /// The job ended by an error.
    Failure,
}

impl MarkKind {
    /// All kinds.
    pub const EVERY: [MarkKind; 6] =
        [Self::Drift, Self::Gate, Self::Alarm, Self::Restart, Self::Checkpoint, Self::Failure];

    /// Name in files and addresses.
    ///
    /// ```
    /// use sluicebox_core::report::MarkKind;
    ///
    /// assert!(MarkKind::EVERY.iter().all(|kind| MarkKind::named(kind.name()) == Some(*kind)));
    /// assert_eq!(serde_json::to_string(&MarkKind::Checkpoint).unwrap(), "\"checkpoint\"");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Gate => "gate",
            Self::Alarm => "alarm",
            Self::Restart => "restart",
            Self::Checkpoint => "checkpoint",
            Self::Failure => "failure",
        }
    }

    /// Returns the kind in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Drift => "drift alarm",
            Self::Gate => "gate closed",
            Self::Alarm => "filter or class alarm",
            Self::Restart => "restart",
            Self::Checkpoint => "checkpoint",
            Self::Failure => "failure",
        }
    }

    /// Returns the kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|kind| kind.name() == name)
    }
}

/// What happened to a job at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Time: ms since 1970, UTC.
    pub at_ms: u64,
    /// Number of the epoch in which it happened, from 1.
    pub epoch: u64,
    /// Step at which it happened.
    pub step: u64,
    /// What it tells.
    pub kind: MarkKind,
    /// What happened, in words.
    pub text: String,
}
