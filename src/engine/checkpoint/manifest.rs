//! `manifest.json` of a checkpoint: version, step, job and checksums.

use crate::engine::checkpoint::file::sha256;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use std::collections::BTreeMap;
use std::path::Path;

/// Content of `manifest.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the checkpoint format.
    pub version: u32,
    /// Version of Sluicebox that wrote it.
    pub sluicebox: String,
    /// Steps done.
    pub step: u64,
    /// First record of the write-ahead log that a restart from here reads, if the job has a log.
    #[serde(default)]
    pub log_position: Option<u64>,
    /// First record of the write-ahead log that was not written yet, if the job has a log. None in a checkpoint of an
    /// earlier Sluicebox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_end: Option<u64>,
    /// The job and the format of its samples.
    #[serde(flatten)]
    pub job: SavedJob,
    /// SHA-256 of each file.
    pub files: BTreeMap<String, String>,
}

/// A job as its checkpoints describe it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedJob {
    /// SHA-256 of the resolved job as TOML.
    #[serde(rename = "job_sha256")]
    pub sha256: String,
    /// The resolved job.
    #[serde(rename = "job")]
    pub resolved: serde_json::Value,
    /// The settings that depend on whether labels can come late, as the job ran with them; none in a
    /// checkpoint of an earlier Sluicebox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<serde_json::Value>,
    /// Shape, type and classes of the job's samples.
    pub format: Format,
}

impl SavedJob {
    /// Describes a job: `toml` and `resolved` are the resolved job in two forms.
    pub fn new(
        toml: &str,
        resolved: serde_json::Value,
        effective: serde_json::Value,
        format: Format,
    ) -> Self {
        Self { sha256: sha256(toml.as_bytes()), resolved, effective: Some(effective), format }
    }
}

/// Reads a checkpoint's manifest.
pub fn manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join("manifest.json");
    let text = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
    serde_json::from_slice(&text).map_err(|error| Error::file(&path, error))
}

/// Returns the format version of a checkpoint, if it can be read.
pub fn version(folder: &Path) -> Option<u32> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let text = std::fs::read(folder.join("manifest.json")).ok()?;
    serde_json::from_slice(&text).ok().map(|Version { version }| version)
}
