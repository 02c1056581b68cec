//! The sinks of predictions that a job has begun since its last checkpoint. No checkpoint knows their extent, but what
//! they hold is of this state: after a kill they may begin anew. What others hold must be kept.

use sluicebox_core::error::{Error, Result};
use sluicebox_core::fs::replace;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Name of the file in the state folder: a list of names as JSON.
const NAME: &str = "begun-sinks.json";

/// Names of the sinks.
pub struct BegunSinks {
    path: PathBuf,
    names: BTreeSet<String>,
}

impl BegunSinks {
    /// Reads the names in a state folder.
    pub fn open(state: &Path) -> Result<Self> {
        let path = state.join(NAME);
        let names = match std::fs::read(&path) {
            // A file that cannot be read names none: then everything is kept.
            Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(Error::file(&path, error)),
        };
        Ok(Self { path, names })
    }

    /// Returns whether a sink was begun.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Adds a sink; that is durable when this returns.
    pub fn add(&mut self, name: String) -> Result<()> {
        if !self.names.insert(name) {
            return Ok(());
        }
        let text = serde_json::to_vec(&self.names).map_err(|error| Error::file(&self.path, error))?;
        replace(&self.path, &text).map_err(|error| Error::file(&self.path, error))
    }
}

/// Removes the names: a checkpoint knows the extents now.
pub fn clear(state: &Path) -> Result<()> {
    let path = state.join(NAME);
    std::fs::remove_file(&path).or_else(|error| match error.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(Error::file(&path, error)),
    })
}
