//! Writes a history, as an observer of the job.

use crate::history::error::HistoryError;
use crate::history::file::{FILE, Place, beside};
use crate::history::reader::History;
use crate::history::transaction::Transaction;
use crate::history::{schema, settings};
use rusqlite::{Connection, OpenFlags, params};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::About;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs of the job that are kept.
const RUNS: u64 = 100;

/// Writes the history. One per job.
pub struct HistoryWriter {
    place: Place,
    connection: Connection,
    retention: settings::History,
    about: About,
    /// The newest epoch written.
    newest: u64,
    failing: bool,
}

impl HistoryWriter {
    /// Opens or creates the history in the state folder `state`; in memory if there is none.
    ///
    /// A damaged history is moved aside, with a warning. A history of a newer version is an error.
    pub fn open(state: Option<&Path>, retention: &settings::History, about: &About) -> Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let place = match state {
            Some(state) => Place::File(state.join(FILE)),
            None => Place::Memory(format!("/history-{}", MADE.fetch_add(1, Ordering::Relaxed)).into()),
        };
        let connection = match begin(&place, about) {
            Err(error) if error.is_damage() => start_new(&place, about, &error)?,
            begun => begun.map_err(|error| error.of(place.path()))?,
        };
        let (retention, about) = (retention.clone(), about.clone());
        let newest = newest(&connection).map_err(|error| error.of(place.path()))?;
        Ok(Self { place, connection, retention, about, newest, failing: false })
    }

    /// Opens a reader of this history.
    pub fn reader(&self) -> Result<History> {
        History::at(self.place.clone())
    }

    /// Deletes the epochs after `epoch` and the marks after `step`, from which the job resumes. Otherwise they would
    /// remain visible until the first new epoch is reported.
    pub fn go_on_after(&mut self, epoch: u64, step: u64) -> Result<()> {
        let rewind = |transaction: &mut Transaction| {
            transaction.rewind(epoch)?;
            transaction.unmark_after(step)
        };
        self.write(rewind).map_err(|error| error.of(self.place.path()))
    }

    /// Runs `work` in one transaction.
    fn write(
        &mut self,
        work: impl Fn(&mut Transaction) -> Result<(), HistoryError>,
    ) -> Result<(), HistoryError> {
        let inner = self.connection.transaction()?;
        let mut transaction = Transaction { inner, retention: &self.retention, newest: self.newest };
        work(&mut transaction)?;
        let newest = transaction.newest;
        transaction.inner.commit()?;
        self.newest = newest;
        Ok(())
    }

    /// Writes events. If the history is damaged, starts a new one with them.
    fn append(&mut self, events: &[Event]) -> Result<()> {
        let error = match self.write(|transaction| transaction.append(events)) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if !error.is_damage() {
            return Err(error.of(self.place.path()));
        }
        // Close it first: otherwise SQLite would remove the new history's journal along with the old one's.
        self.connection =
            Connection::open_in_memory().map_err(|error| HistoryError::from(error).of(self.place.path()))?;
        self.connection = start_new(&self.place, &self.about, &error)?;
        self.newest = 0;
        self.write(|transaction| transaction.append(events)).map_err(|error| error.of(self.place.path()))
    }
}

impl Observer for HistoryWriter {
    fn name(&self) -> String {
        "history".into()
    }

    /// Never fails: a full disk may have space again later.
    fn notify(&mut self, events: &[Event]) -> Result<()> {
        match self.append(events) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                tracing::warn!(
                    "the history cannot be written, and events are missing from it until it can: {error}"
                );
                self.failing = true;
            }
            Err(_) => {}
        }
        Ok(())
    }
}

impl Drop for HistoryWriter {
    /// Leaves one complete file, even while a reader has it open.
    fn drop(&mut self) {
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

/// Opens or creates a history and records the job's description.
fn begin(place: &Place, about: &About) -> Result<Connection, HistoryError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = place.connect(flags)?;
    schema::make(&mut connection)?;
    let json = serde_json::to_string(about).unwrap_or_default();
    connection.execute("REPLACE INTO about VALUES (?1, ?2)", params![about.started_ms, json])?;
    connection.execute(
        "DELETE FROM about WHERE started_ms NOT IN
             (SELECT started_ms FROM about ORDER BY started_ms DESC LIMIT ?1)",
        [RUNS],
    )?;
    Ok(connection)
}

/// Moves a damaged history aside, replacing any moved aside before, and starts a new one.
fn start_new(place: &Place, about: &About, error: &HistoryError) -> Result<Connection> {
    let path = place.path();
    if let Place::File(path) = place {
        let aside = beside(path, ".damaged");
        tracing::warn!(
            "the history is damaged ({error}): it is moved to {}, and a new one is started",
            aside.display()
        );
        std::fs::rename(path, &aside).map_err(|error| Error::file(path, error))?;
        // Also moves SQLite's journal, if there is one.
        let _ = std::fs::remove_file(beside(path, "-shm"));
        let _ = std::fs::rename(beside(path, "-wal"), beside(&aside, "-wal"));
    }
    begin(place, about).map_err(|error| error.of(path))
}

/// Returns the newest epoch in a history.
fn newest(connection: &Connection) -> Result<u64, HistoryError> {
    let newest = "SELECT coalesce(max(last_epoch), 0) FROM
        (SELECT last_epoch FROM epochs WHERE id < ?1 ORDER BY id DESC LIMIT 1)";
    Ok(connection.query_row(newest, [schema::row(1, 0)], |row| row.get(0))?)
}
