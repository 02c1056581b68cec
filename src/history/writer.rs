//! Who writes a history: an observer of the job.

use super::trouble::Trouble;
use super::{FILE, History, beside, layout};
use crate::error::{Error, Result};
use crate::job;
use crate::observers::{Event, Observer};
use crate::report::{About, Line, Meters, Report};
use rusqlite::{Connection, OpenFlags, Transaction, params};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs of the job that are remembered.
const RUNS: u64 = 100;

/// Where a history lies.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In this file.
    File(PathBuf),
    /// In this process, under this name.
    Memory(PathBuf),
}

impl Place {
    /// Its path, for messages too.
    pub fn path(&self) -> &Path {
        match self {
            Place::File(path) | Place::Memory(path) => path,
        }
    }

    /// A connection to it, with nothing asked yet.
    pub fn connect(&self, flags: OpenFlags) -> Result<Connection, Trouble> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match self {
            Place::File(path) => Connection::open_with_flags(path, flags)?,
            Place::Memory(name) => Connection::open_with_flags_and_vfs(name, flags, c"memdb")?,
        };
        layout::settle(&connection)?;
        Ok(connection)
    }
}

/// Writes the history. One for a job.
pub struct Historian {
    place: Place,
    connection: Connection,
    retention: job::History,
    about: About,
    /// The newest epoch that is written.
    newest: u64,
    failing: bool,
}

impl Historian {
    /// Opens or makes the history in the state folder `state`. None: in memory.
    ///
    /// One that is damaged is moved aside, with a warning. One of a newer version is an error.
    pub fn open(state: Option<&Path>, retention: &job::History, about: &About) -> Result<Self> {
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

    /// Someone who reads what this one writes.
    pub fn reader(&self) -> Result<History> {
        History::at(self.place.clone())
    }

    /// Forgets epochs after `epoch`: the job goes on from there. Without it they are seen until
    /// the first epoch that is told.
    pub fn go_on_after(&mut self, epoch: u64) -> Result<()> {
        self.write(|writer| writer.rewind(epoch)).map_err(|trouble| trouble.of(self.place.path()))
    }

    /// Does `work` wholly or not at all.
    fn write(&mut self, work: impl Fn(&mut Writer) -> Result<(), Trouble>) -> Result<(), Trouble> {
        let transaction = self.connection.transaction()?;
        let mut writer = Writer { transaction, retention: &self.retention, newest: self.newest };
        work(&mut writer)?;
        let newest = writer.newest;
        writer.transaction.commit()?;
        self.newest = newest;
        Ok(())
    }

    /// Writes events; a history that turns out to be damaged is begun anew with them.
    fn append(&mut self, events: &[Event]) -> Result<()> {
        let trouble = match self.write(|writer| writer.append(events)) {
            Ok(()) => return Ok(()),
            Err(trouble) => trouble,
        };
        if !trouble.is_damage() {
            return Err(trouble.of(self.place.path()));
        }
        // Closed first: SQLite would take the new history's journal away with the old one's.
        self.connection =
            Connection::open_in_memory().map_err(|error| Trouble::from(error).of(self.place.path()))?;
        self.connection = begin_anew(&self.place, &self.about, &trouble)?;
        self.newest = 0;
        self.write(|writer| writer.append(events)).map_err(|trouble| trouble.of(self.place.path()))
    }
}

impl Observer for Historian {
    fn name(&self) -> String {
        "history".into()
    }

    /// Never fails: a disk that is full may have room again later.
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

impl Drop for Historian {
    /// Leaves one whole file, also where someone still reads it.
    fn drop(&mut self) {
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

/// Opens or makes a history, and writes down which job it is of.
fn begin(place: &Place, about: &About) -> Result<Connection, Trouble> {
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

/// Moves a damaged history aside, over the one before it, and begins a new one.
fn begin_anew(place: &Place, about: &About, trouble: &Trouble) -> Result<Connection> {
    let path = place.path();
    if let Place::File(path) = place {
        let aside = beside(path, ".damaged");
        tracing::warn!(
            "the history is damaged ({trouble}): it is moved to {} and begun anew",
            aside.display()
        );
        std::fs::rename(path, &aside).map_err(|error| Error::file(path, error))?;
        // What SQLite keeps beside the file goes along, where there is any.
        let _ = std::fs::remove_file(beside(path, "-shm"));
        let _ = std::fs::rename(beside(path, "-wal"), beside(&aside, "-wal"));
    }
    begin(place, about).map_err(|trouble| trouble.of(path))
}

/// The newest epoch in a history.
fn newest(connection: &Connection) -> Result<u64, Trouble> {
    let newest = "SELECT coalesce(max(last_epoch), 0) FROM
        (SELECT last_epoch FROM epochs WHERE id < ?1 ORDER BY id DESC LIMIT 1)";
    Ok(connection.query_row(newest, [layout::row(1, 0)], |row| row.get(0))?)
}

/// Writes within one transaction.
struct Writer<'a> {
    transaction: Transaction<'a>,
    retention: &'a job::History,
    newest: u64,
}

impl Writer<'_> {
    fn append(&mut self, events: &[Event]) -> Result<(), Trouble> {
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

    fn line(&self, line: &Line) -> Result<(), Trouble> {
        let insert = "INSERT INTO lines (at_ms, level, module, text) VALUES (?1, ?2, ?3, ?4)";
        let Line { at_ms, level, module, text } = line;
        self.transaction.prepare_cached(insert)?.execute(params![at_ms, level, module, text])?;
        Ok(())
    }

    fn epoch(&self, report: &Report) -> Result<(), Trouble> {
        let mut insert = self.transaction.prepare_cached(&layout::insert())?;
        let number = layout::row(0, layout::place(0, report.epoch));
        insert.raw_bind_parameter(1, number)?;
        insert.raw_bind_parameter(2, report.epoch)?;
        insert.raw_bind_parameter(3, report.ended_ms)?;
        for (at, value) in report.job.values().into_iter().enumerate() {
            insert.raw_bind_parameter(4 + at, value)?;
        }
        insert.raw_execute()?;
        let json = super::reader::Details::of(report);
        let insert = "REPLACE INTO details VALUES (?1, ?2)";
        self.transaction.prepare_cached(insert)?.execute(params![report.epoch, json])?;
        Ok(())
    }

    /// Brings the coarser levels up to date with epochs from `first` to the newest. Each row is
    /// made anew of the rows below it, so it does not matter whether that was done before.
    fn fold(&self, first: u64) -> Result<(), Trouble> {
        let mut fold = self.transaction.prepare_cached(&layout::fold())?;
        for level in 1..=layout::TOP {
            if layout::place(level - 1, self.newest) == 0 {
                break; // one row has it all
            }
            for place in layout::place(level, first)..=layout::place(level, self.newest) {
                let (low, high) = layout::below(level, place);
                fold.execute(params![layout::row(level, place), level, low, high])?;
            }
        }
        Ok(())
    }

    /// Forgets what is older than is to be kept.
    fn forget(&self) -> Result<(), Trouble> {
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

    /// Forgets epochs after `last`: the job began again there.
    fn rewind(&mut self, last: u64) -> Result<(), Trouble> {
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
