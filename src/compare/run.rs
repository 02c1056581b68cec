//! One run of a comparison: a variant with a seed.

use crate::compare::outcome::Outcome;
use crate::job::Job;
use serde::Serialize;
use std::path::PathBuf;

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// The variant's name.
    pub variant: String,
    /// The seed.
    pub seed: u64,
    /// The run was longer, to match the passes of another variant.
    pub stretched: bool,
    /// Its state folder.
    pub state: PathBuf,
    /// Reason of failure, if the run failed.
    pub failure: Option<String>,
    /// Results, if the run is done.
    pub outcome: Option<Outcome>,
    /// The complete job.
    #[serde(skip)]
    pub job: Job,
}

impl Run {
    /// Returns the variant, the seed and the end where it is not the job's own.
    pub fn name(&self) -> String {
        let end = match (self.stretched, self.job.stop.epochs) {
            (false, _) => String::new(),
            (true, 0) => format!(", {} samples", self.job.stop.samples),
            (true, epochs) => format!(", {epochs} epochs"),
        };
        format!("{}, seed {}{end}", self.variant, self.seed)
    }
}
