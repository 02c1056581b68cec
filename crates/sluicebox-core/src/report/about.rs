//! Description of a job, which does not change while it runs.

use serde::{Deserialize, Serialize};

/// Constants of a running job that a viewer needs besides reports.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Name of the job.
    pub job: String,
    /// Kind of the method.
    pub method: String,
    /// The method that is recommended for the job's task, with the reason.
    pub recommended: String,
    /// The whole job as TOML.
    pub toml: String,
    /// Device, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Processor, cores and memory; the GPU's name.
    pub machine: String,
    /// Version of Sluicebox.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Start of this run of the job: ms since 1970, UTC.
    pub started_ms: u64,
    /// Most steps per epoch.
    pub epoch_steps: u64,
    /// Seconds after which an epoch ends as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_seconds: Option<f64>,
    /// Epochs after which the job ends; 0 is never.
    pub stop_epochs: u64,
    /// Samples after which the job ends; 0 is never.
    pub stop_samples: u64,
    /// Epochs without a better accuracy on held-out samples after which the job ends; 0 is never.
    pub stop_patience: u64,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The dataflow's edges: from, to, and whether it is a feedback edge.
    pub edges: Vec<(String, String, bool)>,
    /// Whether samples are images.
    pub images: bool,
    /// Whether samples or labels come from outside.
    pub fed: bool,
    /// State folder; none where nothing is kept.
    pub state: Option<String>,
    /// End of the newest epoch, in ms since 1970, UTC, where the job does not run and its state folder is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
}
