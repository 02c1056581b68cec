//! The state folder: its lock and its checkpoints.

use crate::engine::checkpoint::begun;
use crate::engine::checkpoint::lock::lock;
use sluicebox_core::error::{Error, Result};
use sluicebox_stream::remote;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Beginning of the names of checkpoints: of the newest, and of the best evaluation.
const NEWEST: &str = "step-";
const BEST: &str = "best-";

/// A state folder, locked by this process.
pub struct StateFolder {
    path: PathBuf,
    /// Checkpoints that could not be removed.
    left: RefCell<BTreeSet<PathBuf>>,
    _lock: File,
}

impl StateFolder {
    /// Creates the folder if it does not exist, and locks it.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_file() {
            return Err(Error::file(path, "is a file, but --state needs a folder"));
        }
        if remote::is_url(path) {
            return Err(Error::file(path, "is a URL, but --state needs a folder on a disk here"));
        }
        let cannot = |error| Error::file(path, format!("cannot write to the state folder: {error}"));
        std::fs::create_dir_all(path).map_err(cannot)?;
        let lock = lock(path).map_err(cannot)?;
        let lock = lock.ok_or_else(|| Error::file(path, "another job is running with this state folder"))?;
        Ok(Self { path: path.to_path_buf(), left: RefCell::default(), _lock: lock })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes every checkpoint, and what belongs to the time since the last.
    pub fn clear(&self) -> Result<()> {
        begun::clear(&self.path)?;
        self.keep_best(None)?;
        self.remove(|_, _| true)
    }

    /// Removes the best checkpoints but the one at `path`.
    pub fn keep_best(&self, path: Option<&Path>) -> Result<()> {
        let others = best_checkpoints(&self.path)?.into_iter().map(|(_, other)| other);
        others.filter(|other| Some(other.as_path()) != path).try_for_each(|other| make_way(&other))
    }

    /// Removes the checkpoints for which `gone` holds, given the step and the number of newer ones. One that cannot be
    /// removed is moved aside; one that cannot be moved either is left alone. Both are told once.
    pub fn remove(&self, gone: impl Fn(u64, usize) -> bool) -> Result<()> {
        for (newer, (step, old)) in checkpoints(&self.path)?.into_iter().rev().enumerate() {
            if !gone(step, newer) || self.left.borrow().contains(&old) {
                continue;
            }
            if let Err(error) = make_way(&old) {
                tracing::warn!("an old checkpoint is left where it is: {error}");
                self.left.borrow_mut().insert(old);
            }
        }
        Ok(())
    }
}

/// Makes a name free that the next checkpoint needs: removes the folder that has it; moves aside what cannot be removed
/// or is no folder.
pub fn make_way(path: &Path) -> Result<()> {
    let is_free = |path: &Path| std::fs::symlink_metadata(path).is_err();
    if is_free(path) {
        return Ok(());
    }
    let reason = match path.is_dir() {
        false => "it is no folder".to_string(),
        true => match std::fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) => format!("it cannot be removed: {error}"),
        },
    };
    let mut free = path.with_extension("aside");
    for at in 2u64.. {
        if is_free(&free) {
            break;
        }
        free = path.with_extension(format!("aside-{at}"));
    }
    std::fs::rename(path, &free).map_err(|error| {
        Error::file(path, format!("is in the way of a checkpoint ({reason}) and cannot be moved: {error}"))
    })?;
    tracing::warn!(
        "{} was in the way of a checkpoint ({reason}): moved to {}",
        path.display(),
        free.display()
    );
    Ok(())
}

/// Gives the files of the checkpoint at `path` a second folder `to`, without copies where the file system can.
pub fn twin(path: &Path, to: &Path) -> Result<()> {
    let beside = to.with_file_name("writing-twin");
    make_way(&beside)?;
    std::fs::create_dir(&beside).map_err(|error| Error::file(&beside, error))?;
    for entry in std::fs::read_dir(path).map_err(|error| Error::file(path, error))? {
        let file = entry.map_err(|error| Error::file(path, error))?;
        let twin = beside.join(file.file_name());
        std::fs::hard_link(file.path(), &twin)
            .or_else(|_| std::fs::copy(file.path(), &twin).and_then(|_| File::open(&twin)?.sync_all()))
            .map_err(|error| Error::file(&twin, error))?;
    }
    sync_folder(&beside)?;
    make_way(to)?;
    std::fs::rename(&beside, to).map_err(|error| Error::file(to, error))?;
    to.parent().map_or(Ok(()), sync_folder)
}

/// Syncs a folder, which makes a rename in it durable.
pub fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| Error::file(path, error))
}

/// Returns the checkpoints in a folder by step, the oldest first, intact or not.
pub fn checkpoints(path: &Path) -> Result<Vec<(u64, PathBuf)>> {
    Ok(named(path, NEWEST)?.into_iter().filter(|(_, path)| path.is_dir()).collect())
}

/// Returns the checkpoints of best evaluations by step, the oldest first, intact or not. There are two only where the
/// older could not be removed yet.
pub fn best_checkpoints(path: &Path) -> Result<Vec<(u64, PathBuf)>> {
    Ok(named(path, BEST)?.into_iter().filter(|(_, path)| path.is_dir()).collect())
}

/// Returns the name of the folder of the checkpoint of `step`: as one of the newest, or as the best.
pub fn name(step: u64, is_best: bool) -> String {
    format!("{}{step:012}", if is_best { BEST } else { NEWEST })
}

/// Returns what is named like a checkpoint, but is none: it is no folder.
pub fn foreign(path: &Path) -> Result<Vec<PathBuf>> {
    Ok(named(path, NEWEST)?.into_iter().map(|(_, path)| path).filter(|path| !path.is_dir()).collect())
}

/// Returns the step in a checkpoint's name.
pub fn step_of(path: &Path) -> Option<u64> {
    [NEWEST, BEST].into_iter().find_map(|prefix| after(prefix, path))
}

fn after(prefix: &str, path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(prefix)?.parse().ok()
}

/// Returns everything whose name is `prefix` and a step, the oldest first.
fn named(path: &Path, prefix: &str) -> Result<Vec<(u64, PathBuf)>> {
    let entries = std::fs::read_dir(path).map_err(|error| Error::file(path, error))?;
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::file(path, error))?.path();
        found.extend(after(prefix, &path).map(|step| (step, path)));
    }
    found.sort();
    Ok(found)
}
