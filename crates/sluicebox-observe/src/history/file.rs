//! Where a history is: a file in the state folder, or memory.

use crate::history::error::HistoryError;
use crate::history::schema;
use rusqlite::{Connection, OpenFlags};
use sluicebox_core::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Name of the file in the state folder.
pub const FILE: &str = "history.db";

/// Location of a history.
#[derive(Debug, Clone)]
pub enum Place {
    /// This file.
    File(PathBuf),
    /// Memory of this process, under this name.
    Memory(PathBuf),
}

impl Place {
    /// Path or name, also for messages.
    pub fn path(&self) -> &Path {
        match self {
            Place::File(path) | Place::Memory(path) => path,
        }
    }

    /// Opens a connection; no query has run yet.
    pub fn connect(&self, flags: OpenFlags) -> Result<Connection, HistoryError> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match self {
            Place::File(path) => Connection::open_with_flags(path, flags)?,
            Place::Memory(name) => Connection::open_with_flags_and_vfs(name, flags, c"memdb")?,
        };
        schema::settle(&connection)?;
        Ok(connection)
    }
}

/// Returns whether there is a history in the state folder `state`.
pub fn is_in(state: &Path) -> bool {
    state.join(FILE).is_file()
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
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
