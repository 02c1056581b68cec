//! Writes a history, as an observer of the job.

use super::settings;
use crate::history::error::HistoryError;
use crate::history::{FILE, History, beside, schema as layout};
use rusqlite::{Connection, OpenFlags, Transaction, params};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::{About, Line, Meters, Report};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs of the job that are kept.
const RUNS: u64 = 100;

/// Location of a history.
#[derive(Debug, Clone)]
pub(super) enum Place {
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
        layout::settle(&connection)?;
        Ok(connection)
    }
}

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
            Err(trouble) if trouble.is_damage() => begin_anew(&place, about, &trouble)?,
            begun => begun.map_err(|trouble| trouble.of(place.path()))?,
        };
        let (retention, about) = (retention.clone(), about.clone());
        let newest = newest(&connection).map_err(|trouble| trouble.of(place.path()))?;
        Ok(Self { place, connection, retention, about, newest, failing: false })
    }

    /// Opens a reader of this history.
    pub fn reader(&self) -> Result<History> {
        History::at(self.place.clone())
    }

    /// Deletes the epochs after `epoch`, from which the job resumes. Otherwise they would remain visible
    /// until the first new epoch is reported.
    pub fn go_on_after(&mut self, epoch: u64) -> Result<()> {
        self.write(|writer| writer.rewind(epoch)).map_err(|trouble| trouble.of(self.place.path()))
    }

    /// Runs `work` in one transaction.
    fn write(&mut self, work: impl Fn(&mut Writer) -> Result<(), HistoryError>) -> Result<(), HistoryError> {
        let transaction = self.connection.transaction()?;
        let mut writer = Writer { transaction, retention: &self.retention, newest: self.newest };
        work(&mut writer)?;
        let newest = writer.newest;
        writer.transaction.commit()?;
        self.newest = newest;
        Ok(())
    }

    /// Writes events. If the history is damaged, starts a new one with them.
    fn append(&mut self, events: &[Event]) -> Result<()> {
        let trouble = match self.write(|writer| writer.append(events)) {
            Ok(()) => return Ok(()),
            Err(trouble) => trouble,
        };
        if !trouble.is_damage() {
            return Err(trouble.of(self.place.path()));
        }
        // Close it first: otherwise SQLite would remove the new history's journal along with the old one's.
        self.connection =
            Connection::open_in_memory().map_err(|error| HistoryError::from(error).of(self.place.path()))?;
        self.connection = begin_anew(&self.place, &self.about, &trouble)?;
        self.newest = 0;
        self.write(|writer| writer.append(events)).map_err(|trouble| trouble.of(self.place.path()))
    }
}

impl Observer for HistoryWriter {
    fn name(&self) -> String {
        "history".into()
    }

    /// Never fails: a full disk may have space again later.
    fn tell(&mut self, events: &[Event]) -> Result<()> {
        match self.append(events) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                tracing::warn!("what happens is left out of the history until it can be written: {error}");
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
    layout::make(&mut connection)?;
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
fn begin_anew(place: &Place, about: &About, trouble: &HistoryError) -> Result<Connection> {
    let path = place.path();
    if let Place::File(path) = place {
        let aside = beside(path, ".damaged");
        tracing::warn!(
            "the history is damaged ({trouble}): it is moved to {} and begun anew",
            aside.display()
        );
        std::fs::rename(path, &aside).map_err(|error| Error::file(path, error))?;
        // Also moves SQLite's journal, if there is one.
        let _ = std::fs::remove_file(beside(path, "-shm"));
        let _ = std::fs::rename(beside(path, "-wal"), beside(&aside, "-wal"));
    }
    begin(place, about).map_err(|trouble| trouble.of(path))
}

/// Returns the newest epoch in a history.
fn newest(connection: &Connection) -> Result<u64, HistoryError> {
    let newest = "SELECT coalesce(max(last_epoch), 0) FROM
        (SELECT last_epoch FROM epochs WHERE id < ?1 ORDER BY id DESC LIMIT 1)";
    Ok(connection.query_row(newest, [layout::row(1, 0)], |row| row.get(0))?)
}

/// Writes within one transaction.
struct Writer<'a> {
    transaction: Transaction<'a>,
    retention: &'a settings::History,
    newest: u64,
}

impl Writer<'_> {
    fn append(&mut self, events: &[Event]) -> Result<(), HistoryError> {
        let mut first = None;
        for event in events {
            match event {
                Event::Line(line) => self.line(line)?,
                Event::Epoch(report) => {
                    if report.epoch <= self.newest {
                        self.rewind(report.epoch.saturating_sub(1))?;
                        first = None;
                    }
                    self.epoch(report)?;
                    first.get_or_insert(report.epoch);
                    self.newest = report.epoch;
                }
            }
        }
        if let Some(first) = first {
            self.fold(first)?;
            self.forget()?;
        }
        let lines = "DELETE FROM lines WHERE id <= (SELECT max(id) FROM lines) - ?1";
        self.transaction.prepare_cached(lines)?.execute([self.retention.lines])?;
        Ok(())
    }

    fn line(&self, line: &Line) -> Result<(), HistoryError> {
        let insert = "INSERT INTO lines (at_ms, level, module, text) VALUES (?1, ?2, ?3, ?4)";
        let Line { at_ms, level, module, text } = line;
        self.transaction.prepare_cached(insert)?.execute(params![at_ms, level, module, text])?;
        Ok(())
    }

    fn epoch(&self, report: &Report) -> Result<(), HistoryError> {
        let mut insert = self.transaction.prepare_cached(&layout::insert())?;
        let number = layout::row(0, layout::place(0, report.epoch));
        insert.raw_bind_parameter(1, number)?;
        insert.raw_bind_parameter(2, report.epoch)?;
        insert.raw_bind_parameter(3, report.ended_ms)?;
        for (at, value) in report.job.values().into_iter().enumerate() {
            insert.raw_bind_parameter(4 + at, value)?;
        }
        insert.raw_execute()?;
        let json = crate::history::reader::Details::of(report);
        let insert = "REPLACE INTO details VALUES (?1, ?2)";
        self.transaction.prepare_cached(insert)?.execute(params![report.epoch, json])?;
        Ok(())
    }

    /// Updates the coarser levels with the epochs from `first` to the newest. Each row is recomputed from the
    /// rows below it, so repeating this is harmless.
    fn fold(&self, first: u64) -> Result<(), HistoryError> {
        let mut fold = self.transaction.prepare_cached(&layout::fold())?;
        for level in 1..=layout::TOP {
            if layout::place(level - 1, self.newest) == 0 {
                break; // one row covers all epochs
            }
            for place in layout::place(level, first)..=layout::place(level, self.newest) {
                let (low, high) = layout::below(level, place);
                fold.execute(params![layout::row(level, place), level, low, high])?;
            }
        }
        Ok(())
    }

    /// Deletes rows beyond the retention limits.
    fn forget(&self) -> Result<(), HistoryError> {
        let mut rows = self.transaction.prepare_cached("DELETE FROM epochs WHERE id BETWEEN ?1 AND ?2")?;
        for level in 0..=layout::TOP {
            match layout::place(level, self.newest).checked_sub(self.retention.epochs) {
                Some(last) => rows.execute([layout::row(level, 0), layout::row(level, last)])?,
                None => break,
            };
        }
        let details = "DELETE FROM details WHERE epoch <= ?1";
        let last = self.newest.saturating_sub(self.retention.details);
        self.transaction.prepare_cached(details)?.execute([last])?;
        Ok(())
    }

    /// Deletes the epochs after `last`, where the job resumes.
    fn rewind(&mut self, last: u64) -> Result<(), HistoryError> {
        if last >= self.newest {
            return Ok(());
        }
        let mut rows = self.transaction.prepare_cached("DELETE FROM epochs WHERE id BETWEEN ?1 AND ?2")?;
        for level in 0..=layout::TOP {
            let first = layout::row(level, layout::place(level, last + 1));
            rows.execute([first, layout::row(level + 1, 0) - 1])?;
        }
        drop(rows);
        self.transaction.execute("DELETE FROM details WHERE epoch > ?1", [last])?;
        self.newest = last;
        match last {
            0 => Ok(()),
            _ => self.fold(last),
        }
    }
}
