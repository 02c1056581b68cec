//! Errors of a history.

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHORT_READ;
use sluicebox_core::error::Error;
use std::path::Path;

/// Reason why a history cannot be used.
#[derive(Debug)]
pub enum HistoryError {
    /// A newer Sluicebox wrote it: version of its layout, and the newest version that we know.
    Newer { written: i64, known: i64 },
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
            HistoryError::Newer { .. } | HistoryError::Empty => false,
            HistoryError::Foreign => true,
            HistoryError::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => match error.code {
                // SQLite reports `Unknown` for tables of an unexpected form.
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => true,
                _ => error.extended_code == SQLITE_IOERR_SHORT_READ,
            },
            // The question was wrong, not the file.
            HistoryError::Sqlite(rusqlite::Error::ToSqlConversionFailure(_)) => false,
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
            HistoryError::Newer { written, known } => {
                let reason = format!(
                    "was written by a newer Sluicebox (history version {written}; this program knows \
                     {known}): upgrade Sluicebox, or name another state folder"
                );
                Error::file(path.parent().unwrap_or(path), reason)
            }
            HistoryError::Empty => Error::file(path, self),
            HistoryError::Sqlite(error) if !self.is_damage() => Error::file(path, error),
            _ => {
                let reason = format!(
                    "the history is damaged ({self}): when the job resumes, it moves this file aside and starts a new one"
                );
                Error::file(path, reason)
            }
        }
    }
}

impl std::fmt::Display for HistoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HistoryError::Newer { written, .. } => write!(f, "its version is {written}"),
            HistoryError::Foreign => write!(f, "it is not a history of Sluicebox"),
            HistoryError::Empty => write!(f, "is empty: its job has just started, or the file was truncated"),
            HistoryError::Sqlite(error) => error.fmt(f),
        }
    }
}
