//! Errors of a history.

use crate::history::schema::VERSION;
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHORT_READ;
use sluicebox_core::error::Error;
use std::path::Path;

/// Reason why a history cannot be used.
#[derive(Debug)]
pub(super) enum HistoryError {
    /// Its layout has this version, newer than ours.
    Newer(i64),
    /// It is not a history of Sluicebox.
    Foreign,
    /// It is empty.
    Empty,
    /// An error of SQLite.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> Self {
        HistoryError::Sqlite(error)
    }
}

impl HistoryError {
    /// Returns whether the content of the file is wrong, so that trying again does not help.
    pub fn is_damage(&self) -> bool {
        match self {
            HistoryError::Newer(_) | HistoryError::Empty => false,
            HistoryError::Foreign => true,
            HistoryError::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => match error.code {
                // SQLite reports `Unknown` for tables of an unexpected form.
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => true,
                _ => error.extended_code == SQLITE_IOERR_SHORT_READ,
            },
            HistoryError::Sqlite(_) => true,
        }
    }

    /// Returns whether the file is in a place that cannot be written to.
    pub fn is_read_only(&self) -> bool {
        let HistoryError::Sqlite(rusqlite::Error::SqliteFailure(error, _)) = self else { return false };
        matches!(error.code, ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
    }

    /// Returns the error message for the history in the file `path`.
    pub fn of(&self, path: &Path) -> Error {
        match self {
            HistoryError::Newer(version) => {
                let reason = format!(
                    "was written by a newer Sluicebox (its history is of version {version}, this one knows \
                     {VERSION}): upgrade Sluicebox, or name another state folder"
                );
                Error::file(path.parent().unwrap_or(path), reason)
            }
            HistoryError::Empty => Error::file(path, self),
            HistoryError::Sqlite(error) if !self.is_damage() => Error::file(path, error),
            _ => {
                let reason = format!(
                    "the history is damaged ({self}): when the job goes on it is moved aside and begun anew"
                );
                Error::file(path, reason)
            }
        }
    }
}

impl std::fmt::Display for HistoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HistoryError::Newer(version) => write!(f, "it is of version {version}"),
            HistoryError::Foreign => write!(f, "it is no history of Sluicebox"),
            HistoryError::Empty => write!(f, "is empty: its job has just begun, or it was cut short"),
            HistoryError::Sqlite(error) => error.fmt(f),
        }
    }
}
