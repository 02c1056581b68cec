//! Which checkpoint of a state folder is meant: the newest, or that of the best evaluation.

use crate::engine::checkpoint::folder::{StateFolder, name, twin};
use crate::engine::checkpoint::saved::{Saved, best, newest, read};
use sluicebox_core::error::{Error, Result};
use std::path::Path;

/// A checkpoint of a state folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The newest.
    Newest,
    /// That of the best accuracy on held-out samples (`checkpoint.best`).
    Best,
}

impl Pick {
    /// Returns the best if that `is_asked` for, else the newest.
    pub fn best_if(is_asked: bool) -> Self {
        if is_asked { Pick::Best } else { Pick::Newest }
    }

    /// Reads the checkpoint of a state folder.
    pub fn read(self, path: &Path) -> Result<Saved> {
        let (found, reason) = match self {
            Pick::Newest => (newest(path)?, "there is no checkpoint in it"),
            Pick::Best => (
                best(path)?,
                "there is no best checkpoint in it: a job keeps one with checkpoint.best = true and held-out samples",
            ),
        };
        found.ok_or_else(|| Error::file(path, reason))
    }
}

/// Makes the best checkpoint the newest: later ones are removed.
pub fn return_to_best(folder: &StateFolder) -> Result<()> {
    let best = Pick::Best.read(folder.path())?;
    let step = best.manifest.step;
    let newest = folder.path().join(name(step, false));
    if read(&newest).is_err() {
        twin(&best.folder, &newest)?;
    }
    folder.remove(|other, _| other > step)?;
    tracing::info!("returned to the best checkpoint, step {step}; later ones are removed");
    Ok(())
}
