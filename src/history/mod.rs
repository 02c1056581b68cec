//! The history of a job, which outlives its process.
//!
//! It is one SQLite file, `history.db` in the state folder. SQLite, because one file is easy to
//! copy, a killed job leaves it whole, it is read while it is written, and anyone can ask it:
//!
//! ```sh
//! sqlite3 state/history.db 'select epoch, accuracy from epochs where level = 0'
//! ```
//!
//! Level 0 of `epochs` has a row an epoch and a column a meter; a row of level k folds 8^k epochs
//! (the mean; `low_` and `high_` columns; of totals the last). Each level keeps its newest rows
//! only, so the file is bounded however long the job runs, and a plot of a million epochs reads
//! some hundred rows. Classes, operators and confusions are JSON in `details`, the job is in
//! `about`, its log in `lines`.
//!
//! - `layout` the tables, and how rows are numbered
//! - `writer` who writes it, `reader` who reads it
//! - `trouble` what can be wrong with the file

mod layout;
mod reader;
mod trouble;
mod writer;

pub use reader::History;
pub use writer::Historian;

use crate::error::{Error, Result};
use crate::report::JobMeters;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Its name in the state folder.
const FILE: &str = "history.db";

/// One or more epochs, folded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The first of them.
    pub first_epoch: u64,
    /// The last of them.
    pub last_epoch: u64,
    /// When the last of them ended: ms since 1970, UTC.
    pub ended_ms: u64,
    /// The mean of each number; of totals the last.
    pub mean: JobMeters,
    /// The least of each.
    pub low: JobMeters,
    /// The greatest of each.
    pub high: JobMeters,
}

/// Removes the history in the state folder `state`: the job starts anew.
pub fn clear(state: &Path) -> Result<()> {
    let file = state.join(FILE);
    for path in [beside(&file, "-wal"), beside(&file, "-shm"), file] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file(&path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `path` with `end` after its name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
