//! An open history, and the queries on it.

use crate::history::details::Details;
use crate::history::error::HistoryError;
use crate::history::file::{FILE, Place, beside};
use crate::history::point::Point;
use crate::history::schema;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use sluicebox_core::report::{JobMeters, Line, Mark, MarkKind, Meters, Report};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::TempDir;

/// An open history.
pub struct Open {
    connection: Connection,
    /// Meters for which it has columns.
    meters: Vec<&'static str>,
    /// Whether it has marks.
    marks: bool,
    /// Device and inode of the file.
    pub file: Option<(u64, u64)>,
    /// Folder of the copy, if it was opened from a copy.
    _copy: Option<TempDir>,
}

impl Open {
    /// Opens the history; where its folder is read-only, a copy of it.
    pub fn new(place: &Place) -> Result<Self, HistoryError> {
        match (Self::direct(place), place) {
            (Err(error), Place::File(path)) if error.is_read_only() => Self::copied(path, error),
            (opened, _) => opened,
        }
    }

    fn direct(place: &Place) -> Result<Self, HistoryError> {
        let file = identity(place);
        let connection = place.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        if schema::version(&connection)? == 0 {
            return Err(HistoryError::Empty);
        }
        let meters = schema::known(&connection)?;
        let marks = schema::has_marks(&connection)?;
        Ok(Self { connection, meters, marks, file, _copy: None })
    }

    /// Opens a copy: SQLite must write beside a file that it reads, which a read-only folder does not allow.
    fn copied(path: &Path, error: HistoryError) -> Result<Self, HistoryError> {
        let copy = || -> std::io::Result<TempDir> {
            let folder = tempfile::tempdir()?;
            let file = folder.path().join(FILE);
            std::fs::copy(path, &file)?;
            let journal = beside(path, "-wal");
            if journal.exists() {
                std::fs::copy(journal, beside(&file, "-wal"))?;
            }
            Ok(folder)
        };
        let Ok(folder) = copy() else { return Err(error) };
        let opened = Self::direct(&Place::File(folder.path().join(FILE)))?;
        Ok(Self { file: identity(&Place::File(path.into())), _copy: Some(folder), ..opened })
    }

    /// Returns the descriptions of the job in its newest runs, as JSON, the oldest first.
    pub fn runs(&self) -> Result<Vec<String>, HistoryError> {
        let mut ask = self.connection.prepare_cached("SELECT json FROM about ORDER BY started_ms")?;
        let found = ask.query_map([], |row| row.get(0))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Returns the first and the last recorded epoch.
    pub fn span(&self) -> Result<Option<(u64, u64)>, HistoryError> {
        let Some(top) = self.top()? else { return Ok(None) };
        let newest = "SELECT last_epoch FROM epochs WHERE id < ?1 ORDER BY id DESC LIMIT 1";
        let newest = self.connection.prepare_cached(newest)?.query_row([schema::row(1, 0)], |row| row.get(0));
        let (Some(first), Some(last)) = (self.first(top)?, newest.optional()?) else { return Ok(None) };
        Ok(Some((first, last)))
    }

    /// Returns the coarsest level, which reaches back farthest.
    fn top(&self) -> Result<Option<u32>, HistoryError> {
        let last = "SELECT id FROM epochs ORDER BY id DESC LIMIT 1";
        let last: Option<i64> =
            self.connection.prepare_cached(last)?.query_row([], |row| row.get(0)).optional()?;
        Ok(last.map(schema::level))
    }

    /// Returns the first epoch of a level.
    fn first(&self, level: u32) -> Result<Option<u64>, HistoryError> {
        let first = "SELECT epoch FROM epochs WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1";
        let range = [schema::row(level, 0), schema::row(level + 1, 0) - 1];
        Ok(self.connection.prepare_cached(first)?.query_row(range, |row| row.get(0)).optional()?)
    }

    /// Returns the report of an epoch, with its details while they are kept.
    pub fn report(&self, epoch: u64) -> Result<Option<Report>, HistoryError> {
        if i64::try_from(epoch).is_err() {
            return Ok(None); // SQLite has no such numbers
        }
        let columns: String = self.meters.iter().map(|name| format!(", {name}")).collect();
        let ask = format!("SELECT ended_ms{columns} FROM epochs WHERE id = ?1 AND epoch = ?2");
        let row = params![schema::row(0, schema::place(0, epoch)), epoch];
        let found = self.connection.prepare_cached(&ask)?.query_row(row, |row| {
            Ok(Report { epoch, ended_ms: row.get(0)?, job: self.numbers(row, 1)?, ..Report::default() })
        });
        let Some(report) = found.optional()? else { return Ok(None) };
        let ask = "SELECT json FROM details WHERE epoch = ?1";
        let json: Option<String> =
            self.connection.prepare_cached(ask)?.query_row([epoch], |row| row.get(0)).optional()?;
        // Details in the format of another version are omitted.
        let details: Details = json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
        Ok(Some(details.complete(report)))
    }

    /// Returns at most `points` points that cover `epochs`, the oldest first.
    pub fn series(&self, epochs: &RangeInclusive<u64>, points: u64) -> Result<Vec<Point>, HistoryError> {
        let (Some((first, last)), Some(top)) = (self.span()?, self.top()?) else { return Ok(Vec::new()) };
        let (first, last) = (first.max(*epochs.start()), last.min(*epochs.end()));
        if first > last {
            return Ok(Vec::new());
        }
        let mut level = 0;
        while level < top && !self.suits(level, first, last, points)? {
            level += 1;
        }
        let columns = |shape: &dyn Fn(&str) -> String| -> String {
            self.meters.iter().map(|name| format!(", {}", shape(name))).collect()
        };
        let ask = format!(
            "SELECT epoch, last_epoch, ended_ms{}{}{} FROM epochs WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
            columns(&|name| name.to_string()),
            columns(&|name| format!("coalesce(low_{name}, {name})")),
            columns(&|name| format!("coalesce(high_{name}, {name})")),
        );
        let range = [first, last].map(|epoch| schema::row(level, schema::place(level, epoch)));
        let mut ask = self.connection.prepare_cached(&ask)?;
        let found = ask.query_map(range, |row| self.point(row))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Returns whether a level covers these epochs in few enough points.
    fn suits(&self, level: u32, first: u64, last: u64, points: u64) -> Result<bool, HistoryError> {
        let [from, to] = [first, last].map(|epoch| schema::place(level, epoch));
        Ok(to - from < points && self.first(level)?.is_some_and(|oldest| oldest <= first))
    }

    fn point(&self, row: &Row) -> rusqlite::Result<Point> {
        let meters = self.meters.len();
        Ok(Point {
            first_epoch: row.get(0)?,
            last_epoch: row.get(1)?,
            ended_ms: row.get(2)?,
            mean: self.numbers(row, 3)?,
            low: self.numbers(row, 3 + meters)?,
            high: self.numbers(row, 3 + 2 * meters)?,
        })
    }

    /// Returns the meters of a row, from column `at` on.
    fn numbers(&self, row: &Row, at: usize) -> rusqlite::Result<JobMeters> {
        let mut numbers = JobMeters::default();
        for (column, name) in self.meters.iter().enumerate() {
            numbers.put(name, row.get(at + column)?);
        }
        Ok(numbers)
    }

    /// Returns the newest lines of the log, the oldest first.
    pub fn lines(&self, most: usize) -> Result<Vec<Line>, HistoryError> {
        let ask = "SELECT at_ms, level, module, text FROM lines ORDER BY id DESC LIMIT ?1";
        let mut ask = self.connection.prepare_cached(ask)?;
        let found = ask.query_map([most], |row| {
            Ok(Line { at_ms: row.get(0)?, level: row.get(1)?, module: row.get(2)?, text: row.get(3)? })
        })?;
        let mut lines: Vec<Line> = found.collect::<Result<_, _>>()?;
        lines.reverse();
        Ok(lines)
    }

    /// Returns the newest `most` marks of each kind in `epochs`, in the order in which they were made.
    pub fn marks(&self, epochs: &RangeInclusive<u64>, most: usize) -> Result<Vec<Mark>, HistoryError> {
        let mut marks: Vec<(i64, Mark)> = Vec::new();
        let limit = |epoch: u64| i64::try_from(epoch).unwrap_or(i64::MAX); // SQLite has no greater numbers
        let (from, to) = (limit(*epochs.start()), limit(*epochs.end()));
        for kind in MarkKind::EVERY.into_iter().filter(|_| self.marks) {
            let ask = "SELECT id, at_ms, epoch, step, text FROM marks
                WHERE kind = ?1 AND epoch BETWEEN ?2 AND ?3 ORDER BY id DESC LIMIT ?4";
            let mut ask = self.connection.prepare_cached(ask)?;
            let found = ask.query_map(params![kind.name(), from, to, most], |row| {
                let (at_ms, epoch, step) = (row.get(1)?, row.get(2)?, row.get(3)?);
                Ok((row.get(0)?, Mark { at_ms, epoch, step, kind, text: row.get(4)? }))
            })?;
            for mark in found {
                marks.push(mark?);
            }
        }
        marks.sort_by_key(|(id, _)| *id);
        Ok(marks.into_iter().map(|(_, mark)| mark).collect())
    }
}

/// Returns the device and inode of the file, if it exists.
pub fn identity(place: &Place) -> Option<(u64, u64)> {
    let Place::File(path) = place else { return None };
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
