//! Why a request of a feeder is refused.

use crate::wal::Shortage;
use sluicebox_core::error::Error;
use sluicebox_core::sample_id::SampleId;

/// Reason why a request was refused. None of its samples was taken in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request does not fit the job.
    #[error("{0}")]
    Bad(String),
    /// A label is no class of the job.
    #[error("{0}")]
    UnknownClass(String),
    /// An id was used before with other values.
    #[error("id {0} was used before with other values; each sample needs an id of its own")]
    IdReused(SampleId),
    /// The request exceeds the largest size that the log ever accepts at once.
    #[error("{0}")]
    TooLarge(String),
    /// The log is full at present.
    #[error("the log is full, because the job trains more slowly than samples arrive; try again later")]
    Full,
    /// The disk has less free space than the job needs.
    #[error("{0}; try again later")]
    Disk(Shortage),
    /// The log failed: the job is ending.
    #[error("{0}")]
    Failed(#[from] Error),
}

impl Refusal {
    /// Returns the name under which the refusal is counted.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Bad(_) => "bad",
            Refusal::UnknownClass(_) => "unknown-class",
            Refusal::IdReused(_) => "id-reused",
            Refusal::TooLarge(_) => "too-large",
            Refusal::Full => "full",
            Refusal::Disk(_) => "disk",
            Refusal::Failed(_) => "failed",
        }
    }
}
