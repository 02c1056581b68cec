//! `manifest.json` of a checkpoint: version, step, job and checksums, also of itself.

use crate::engine::checkpoint::file::sha256;
use crate::engine::checkpoint::folder::step_of;
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
    /// SHA-256 of this file with zeros in place of the sum, in every version of the format; none in a checkpoint of
    /// an earlier Sluicebox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<String>,
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

    /// Returns whether labels could come late; none in a checkpoint of an earlier Sluicebox.
    pub fn late_labels(&self) -> Option<bool> {
        self.effective.as_ref()?.get("late_labels")?.as_bool()
    }
}

impl Manifest {
    /// Returns the text of the file, with its own checksum.
    pub fn text(mut self) -> serde_json::Result<String> {
        self.manifest_sha256 = Some(NO_SUM.into());
        let text = serde_json::to_string_pretty(&self)?;
        Ok(text.replacen(NO_SUM, &sha256(text.as_bytes()), 1))
    }
}

/// What stands in place of the checksum while it is computed.
const NO_SUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Returns whether the text of a manifest has the checksum `sum`, which is written in it.
fn is_intact(text: &str, sum: Option<&str>) -> bool {
    sum.is_none_or(|sum| sum.len() == NO_SUM.len() && sha256(text.replacen(sum, NO_SUM, 1).as_bytes()) == sum)
}

/// Reads a checkpoint's manifest and verifies it.
pub fn manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join("manifest.json");
    let text = std::fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| Error::file(&path, error))?;
    if !is_intact(&text, manifest.manifest_sha256.as_deref()) {
        return Err(Error::file(&path, "its checksum is wrong"));
    }
    if let Some(step) = step_of(folder).filter(|step| *step != manifest.step) {
        return Err(Error::file(
            &path,
            format!("it is of step {}, but its folder of step {step}", manifest.step),
        ));
    }
    Ok(manifest)
}

/// Returns the format version of a checkpoint, if its manifest can be read and is not damaged.
pub fn version(folder: &Path) -> Option<u32> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
        manifest_sha256: Option<String>,
    }
    let text = std::fs::read_to_string(folder.join("manifest.json")).ok()?;
    let Version { version, manifest_sha256 } = serde_json::from_str(&text).ok()?;
    is_intact(&text, manifest_sha256.as_deref()).then_some(version)
}
