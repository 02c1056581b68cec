//! Inputs of the feeder: files, folders and stdin.

use sluicebox_core::error::{Error, Result};
use sluicebox_stream::decode::Kind;
use std::path::PathBuf;

/// Where samples are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, or all files in a folder whose names give a known format, sorted by name.
    File(PathBuf),
    /// Stdin.
    Stdin(Kind),
}

impl Input {
    /// Returns an error if the input does not exist.
    pub fn check(&self) -> Result<()> {
        self.files().map(|_| ())
    }

    /// Returns the files of this input; none for stdin.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let Input::File(path) = self else { return Ok(Vec::new()) };
        let fault = |error| Error::file(path, error);
        if !std::fs::metadata(path).map_err(fault)?.is_dir() {
            return Ok(vec![path.clone()]);
        }
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(fault)? {
            files.push(entry.map_err(fault)?.path());
        }
        files.retain(|file| Kind::of(file).is_some() && file.is_file());
        files.sort();
        match files.is_empty() {
            true => {
                Err(Error::file(path, "no file in this folder has a known extension, such as .npy or .csv"))
            }
            false => Ok(files),
        }
    }
}
