//! Where steps, epochs, checkpoints and the job end.

use crate::scenario::phases::Phases;
use std::time::Duration;

/// Sizes and limits of steps.
#[derive(Debug, Clone)]
pub struct BatchPlan {
    /// Unlabelled samples per step.
    pub batch: usize,
    /// Longest wait of a partial batch's first sample before the batch is closed.
    pub max_wait: Duration,
    /// Most steps per epoch.
    pub epoch_steps: u64,
    /// Time from an epoch's first step after which the epoch ends as well. Needs a step journal.
    pub epoch_time: Option<Duration>,
    /// Steps after which the job ends.
    pub stop_step: Option<u64>,
    /// Samples after which the job ends.
    pub stop_samples: Option<u64>,
    /// Steps between checkpoints.
    pub checkpoint_steps: Option<u64>,
    /// Whether the end of each epoch takes a checkpoint as well.
    pub checkpoint_epochs: bool,
    /// Phases of the job's scenario, if it has any.
    pub phases: Option<Phases>,
}
