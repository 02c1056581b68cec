//! The state folder: its lock and its checkpoints.

use crate::engine::checkpoint::begun;
use sluicebox_core::error::{Error, Result};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// A state folder, locked by this process.
pub struct StateFolder {
    path: PathBuf,
    _lock: File,
}

impl StateFolder {
    /// Creates the folder if it does not exist, and locks it.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_file() {
            return Err(Error::file(path, "is a file, but --state needs a folder"));
        }
        let cannot = |error| Error::file(path, format!("cannot write to the state folder: {error}"));
        std::fs::create_dir_all(path).map_err(cannot)?;
        let lock = File::create(path.join("lock")).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::file(path, "another job is running with this state folder"));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes every checkpoint, and what belongs to the time since the last.
    pub fn clear(&self) -> Result<()> {
        begun::clear(&self.path)?;
        remove(&self.path, |_, _| true)
    }
}

/// Returns the checkpoints in a folder by step, the oldest first, intact or not.
pub fn checkpoints(path: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = std::fs::read_dir(path).map_err(|error| Error::file(path, error))?;
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let step = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
            Some((step, entry.path()))
        })
        .collect();
    found.sort();
    Ok(found)
}

/// Removes the checkpoints for which `gone` holds, given the step and the number of newer ones.
pub fn remove(path: &Path, gone: impl Fn(u64, usize) -> bool) -> Result<()> {
    for (newer, (step, old)) in checkpoints(path)?.into_iter().rev().enumerate() {
        if gone(step, newer) {
            std::fs::remove_dir_all(&old).map_err(|error| Error::file(&old, error))?;
        }
    }
    Ok(())
}
