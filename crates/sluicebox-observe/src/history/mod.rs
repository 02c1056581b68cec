//! The history of a job; it outlives the job's process.
//!
//! It is one SQLite file, `history.db` in the state folder. One file is easy to copy, stays intact if the job
//! is killed, can be read while it is written, and is open to queries:
//!
//! ```sh
//! sqlite3 state/history.db 'select epoch, accuracy from epochs where level = 0'
//! ```
//!
//! Level 0 of `epochs` has one row per epoch and one column per meter. A row of level k folds 8^k epochs: the
//! mean, minimum (`low_`) and maximum (`high_`) of a gauge, the last value of a total. Each level keeps only
//! its newest rows, so the file stays bounded and a plot of a million epochs reads some hundred rows.
//! Classes, operators and confusions are JSON in `details`, the job is in `about`, its log in `lines`.
//!
//! - `layout`: tables and row ids
//! - `writer`: writes a history; `reader`: reads it
//! - `trouble`: errors of the file

pub mod error;
mod reader;
pub mod schema;
pub mod settings;
mod writer;

pub use reader::History;
pub use writer::HistoryWriter;

use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::JobMeters;
use std::path::{Path, PathBuf};

/// Name of the file in the state folder.
const FILE: &str = "history.db";

/// One or more epochs, folded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The first epoch.
    pub first_epoch: u64,
    /// The last epoch.
    pub last_epoch: u64,
    /// End of the last epoch: ms since 1970, UTC.
    pub ended_ms: u64,
    /// Mean of each number; of totals the last value.
    pub mean: JobMeters,
    /// Minimum of each number.
    pub low: JobMeters,
    /// Maximum of each number.
    pub high: JobMeters,
}

/// Removes the history in the state folder `state`, for a job that starts from scratch.
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

/// Returns `path` with `end` appended to its name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
