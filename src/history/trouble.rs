//! What can be wrong with a history.

use super::layout::VERSION;
use crate::error::Error;
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHORT_READ;
use std::path::Path;

/// Why a history cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is of this version, which is newer than ours.
    Newer(i64),
    /// It is no history of ours.
    Foreign,
    /// Nothing was written yet.
    Empty,
    /// SQLite says so.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Trouble::Sqlite(error)
    }
}

impl Trouble {
    /// What is in the file is wrong: trying again does not help.
    pub fn is_damage(&self) -> bool {
        match self {
            Trouble::Newer(_) | Trouble::Empty => false,
            Trouble::Foreign => true,
            Trouble::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => match error.code {
                // The last is what SQLite says of tables that are not as they should be.
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => true,
                _ => error.extended_code == SQLITE_IOERR_SHORT_READ,
            },
            Trouble::Sqlite(_) => true,
        }
    }

    /// It lies where nothing can be written.
    pub fn is_read_only(&self) -> bool {
        let Trouble::Sqlite(rusqlite::Error::SqliteFailure(error, _)) = self else { return false };
        matches!(error.code, ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
    }

    /// What to tell of the history in the file `path`.
    pub fn of(&self, path: &Path) -> Error {
        match self {
            Trouble::Newer(version) => {
                let reason = format!(
                    "was written by a newer Sluicebox (its history is of version {version}, this one knows \
                     {VERSION}): upgrade Sluicebox, or name another state folder"
                );
                Error::file(path.parent().unwrap_or(path), reason)
            }
            Trouble::Empty => Error::file(path, self),
            Trouble::Sqlite(error) if !self.is_damage() => Error::file(path, error),
            _ => {
                let reason = format!(
                    "the history is damaged ({self}): when the job goes on it is moved aside and begun anew"
                );
                Error::file(path, reason)
            }
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Newer(version) => write!(f, "it is of version {version}"),
            Trouble::Foreign => write!(f, "it is no history of Sluicebox"),
            Trouble::Empty => write!(f, "is empty: its job has just begun, or it was cut short"),
            Trouble::Sqlite(error) => error.fmt(f),
        }
    }
}
