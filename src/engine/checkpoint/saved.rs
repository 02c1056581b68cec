//! Reads and verifies checkpoints.

use crate::engine::checkpoint::file::{VERSION, sha256, unpack};
use crate::engine::checkpoint::folder::{best_checkpoints, checkpoints, foreign};
use crate::engine::checkpoint::manifest::{Manifest, manifest, version};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use sluicebox_core::state::Sections;
use std::path::{Path, PathBuf};

/// An intact checkpoint.
#[derive(Debug)]
pub struct Saved {
    /// The manifest.
    pub manifest: Manifest,
    /// State of each owner, as bytes.
    pub sections: Sections,
    /// Folder of the checkpoint.
    pub folder: PathBuf,
}

impl Saved {
    /// Refuses samples of another format than those this state's model was trained on.
    pub fn suits(&self, format: &Format) -> Result<()> {
        let then = &self.manifest.job.format;
        if then == format {
            return Ok(());
        }
        let reason = format!(
            "this state is of samples of {} in {} classes ({}), but the source gives {} in {} ({})",
            then.shape,
            then.classes.len(),
            then.classes.join(", "),
            format.shape,
            format.classes.len(),
            format.classes.join(", ")
        );
        Err(Error::file(&self.folder, reason))
    }

    /// Returns the size of its files in bytes.
    pub fn bytes(&self) -> u64 {
        let sizes = self.manifest.files.keys().map(|name| std::fs::metadata(self.folder.join(name)));
        sizes.flatten().map(|file| file.len()).sum()
    }

    /// Returns the path of the teacher's weights, under PyTorch's names.
    pub fn model(&self) -> PathBuf {
        self.folder.join("model.safetensors")
    }
}

/// Returns the step of the newest checkpoint in a state folder whose manifest is intact.
pub fn newest_step(path: &Path) -> Option<u64> {
    let newest_first = checkpoints(path).ok()?.into_iter().rev();
    newest_first.filter_map(|(_, folder)| manifest(&folder).ok()).map(|manifest| manifest.step).next()
}

/// Returns the newest intact checkpoint in a state folder. Damaged ones, and what only has the name of one, are skipped
/// with a warning. One of another version is an error, and is left untouched.
pub fn newest(path: &Path) -> Result<Option<Saved>> {
    for other in foreign(path)? {
        tracing::warn!("{} is named like a checkpoint, but is no folder: it is left alone", other.display());
    }
    intact(path, checkpoints(path)?)
}

/// Returns the intact checkpoint of the best evaluation in a state folder, if it has one.
pub fn best(path: &Path) -> Result<Option<Saved>> {
    intact(path, best_checkpoints(path)?)
}

/// Returns the last of the checkpoints in the state folder `path` that is intact.
fn intact(path: &Path, all: Vec<(u64, PathBuf)>) -> Result<Option<Saved>> {
    let mut damaged = 0;
    for (_, folder) in all.into_iter().rev() {
        if let Some(version) = version(&folder).filter(|version| *version != VERSION) {
            let todo = if version > VERSION {
                "upgrade Sluicebox"
            } else {
                "use the version of Sluicebox that wrote it"
            };
            let reason = format!(
                "was written by another Sluicebox: its format is {version}, this one reads {VERSION}; {todo}, \
                 name another folder, or start anew with --fresh"
            );
            return Err(Error::file(&folder, reason));
        }
        match read(&folder) {
            Ok(saved) => return Ok(Some(saved)),
            Err(error) => {
                damaged += 1;
                tracing::warn!("skipping a damaged checkpoint: {error}");
            }
        }
    }
    if damaged > 0 {
        let reason = "every checkpoint in it is damaged; name another folder, or start anew with --fresh";
        return Err(Error::file(path, reason));
    }
    Ok(None)
}

/// Returns the end of the write-ahead log that the checkpoints in a state folder know of, damaged ones included.
pub fn log_end(path: &Path) -> Result<u64> {
    let manifests = checkpoints(path)?.into_iter().filter_map(|(_, folder)| manifest(&folder).ok());
    let ends = manifests.filter_map(|manifest| manifest.log_end.max(manifest.log_position));
    Ok(ends.max().unwrap_or_default())
}

/// Reads a checkpoint and verifies every checksum.
pub fn read(folder: &Path) -> Result<Saved> {
    let manifest = manifest(folder)?;
    for (name, sum) in &manifest.files {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
        if sha256(&bytes) != *sum {
            return Err(Error::file(&path, "its checksum is wrong"));
        }
    }
    let path = folder.join("state.bin");
    let bytes = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
    let sections = unpack(&bytes).map_err(|reason| Error::file(&path, reason))?;
    Ok(Saved { manifest, sections: sections.into(), folder: folder.to_path_buf() })
}
