//! Reads a history, also while it is written.

use crate::history::error::HistoryError;
use crate::history::writer::Place;
use crate::history::{FILE, Point, beside, schema as layout};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::ledger;
use sluicebox_core::report::{
    About, ClassMeters, Confusion, JobMeters, Line, Meters, Named, OperatorMeters, PhaseMeters, ReasonMeters,
    Report, SourceMeters,
};
use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::TempDir;

/// The parts of a report besides the job's meters.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Details<'a> {
    classes: Cow<'a, [Named<ClassMeters>]>,
    operators: Cow<'a, [Named<OperatorMeters>]>,
    sources: Cow<'a, [Named<SourceMeters>]>,
    phases: Cow<'a, [Named<PhaseMeters>]>,
    reasons: Cow<'a, [Named<ReasonMeters>]>,
    confusions: Cow<'a, [Confusion]>,
    ledger: Option<Cow<'a, ledger::Report>>,
}

impl Details<'_> {
    /// Returns the details of a report as JSON.
    pub fn of(report: &Report) -> String {
        let details = Details {
            classes: Cow::Borrowed(&report.classes),
            operators: Cow::Borrowed(&report.operators),
            sources: Cow::Borrowed(&report.sources),
            phases: Cow::Borrowed(&report.phases),
            reasons: Cow::Borrowed(&report.reasons),
            confusions: Cow::Borrowed(&report.confusions),
            ledger: report.ledger.as_ref().map(Cow::Borrowed),
        };
        serde_json::to_string(&details).unwrap_or_default()
    }

    /// Adds the details to a report.
    fn complete(self, report: Report) -> Report {
        Report {
            classes: self.classes.into_owned(),
            operators: self.operators.into_owned(),
            sources: self.sources.into_owned(),
            phases: self.phases.into_owned(),
            reasons: self.reasons.into_owned(),
            confusions: self.confusions.into_owned(),
            ledger: self.ledger.map(Cow::into_owned),
            ..report
        }
    }
}

/// Reads a history, also while it is written.
pub struct History {
    place: Place,
    open: RefCell<Open>,
}

/// An open history.
struct Open {
    connection: Connection,
    /// Meters for which it has columns.
    meters: Vec<&'static str>,
    /// Device and inode of the file.
    file: Option<(u64, u64)>,
    /// Folder of the copy, if it was opened from a copy.
    _copy: Option<TempDir>,
}

impl History {
    /// Opens the history in the state folder `state`.
    pub fn read(state: &Path) -> Result<Self> {
        if !state.is_dir() {
            return Err(Error::file(state, "there is no such folder; the state folder of a job is wanted"));
        }
        let path = state.join(FILE);
        if !path.exists() {
            let reason = "there is no history in it: it is no state folder, or its job has not begun";
            return Err(Error::file(state, reason));
        }
        Self::at(Place::File(path))
    }

    pub(super) fn at(place: Place) -> Result<Self> {
        let open = Open::new(&place).map_err(|trouble| trouble.of(place.path()))?;
        Ok(Self { place, open: RefCell::new(open) })
    }

    /// Returns the description of the job in each of its newest runs, the oldest first.
    pub fn runs(&self) -> Result<Vec<About>> {
        let all: Vec<String> = self.ask(|open| {
            let mut ask = open.connection.prepare_cached("SELECT json FROM about ORDER BY started_ms")?;
            let found = ask.query_map([], |row| row.get(0))?;
            Ok(found.collect::<Result<_, _>>()?)
        })?;
        Ok(all.iter().filter_map(|json| serde_json::from_str(json).ok()).collect())
    }

    /// Returns the description of the job in its newest run.
    pub fn about(&self) -> Result<About> {
        Ok(self.runs()?.pop().unwrap_or_default())
    }

    /// Returns the first and the last recorded epoch.
    pub fn span(&self) -> Result<Option<(u64, u64)>> {
        self.ask(Open::span)
    }

    /// Returns the report of an epoch, with its details while they are kept.
    pub fn report(&self, epoch: u64) -> Result<Option<Report>> {
        self.ask(|open| open.report(epoch))
    }

    /// Returns at most `points` points that cover `epochs`, the oldest first, from the finest level that
    /// covers them with that many points. The last point may fold fewer epochs than the others.
    pub fn series(&self, epochs: RangeInclusive<u64>, points: usize) -> Result<Vec<Point>> {
        self.ask(|open| open.series(&epochs, points.max(1) as u64))
    }

    /// Returns the newest lines of the log, the oldest first.
    pub fn lines(&self, most: usize) -> Result<Vec<Line>> {
        self.ask(|open| open.lines(most))
    }

    /// Queries the file that exists now; reopens it if the job has started a new history.
    fn ask<T>(&self, question: impl Fn(&Open) -> Result<T, HistoryError>) -> Result<T> {
        let answer = || {
            let mut open = self.open.borrow_mut();
            let now = identity(&self.place);
            if now.is_some() && now != open.file {
                *open = Open::new(&self.place)?;
            }
            question(&open)
        };
        answer().map_err(|trouble| trouble.of(self.place.path()))
    }
}

/// Returns the device and inode of the file, if it exists.
fn identity(place: &Place) -> Option<(u64, u64)> {
    let Place::File(path) = place else { return None };
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Open {
    fn new(place: &Place) -> Result<Self, HistoryError> {
        match (Self::direct(place), place) {
            (Err(trouble), Place::File(path)) if trouble.is_read_only() => Self::copied(path, trouble),
            (opened, _) => opened,
        }
    }

    fn direct(place: &Place) -> Result<Self, HistoryError> {
        let file = identity(place);
        let connection = place.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        if layout::version(&connection)? == 0 {
            return Err(HistoryError::Empty);
        }
        let meters = layout::known(&connection)?;
        Ok(Self { connection, meters, file, _copy: None })
    }

    /// Opens a copy: SQLite must write beside a file that it reads, which a read-only folder does not allow.
    fn copied(path: &Path, trouble: HistoryError) -> Result<Self, HistoryError> {
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
        let Ok(folder) = copy() else { return Err(trouble) };
        let opened = Self::direct(&Place::File(folder.path().join(FILE)))?;
        Ok(Self { file: identity(&Place::File(path.into())), _copy: Some(folder), ..opened })
    }

    fn span(&self) -> Result<Option<(u64, u64)>, HistoryError> {
        let Some(top) = self.top()? else { return Ok(None) };
        let newest = "SELECT last_epoch FROM epochs WHERE id < ?1 ORDER BY id DESC LIMIT 1";
        let newest = self.connection.prepare_cached(newest)?.query_row([layout::row(1, 0)], |row| row.get(0));
        let (Some(first), Some(last)) = (self.first(top)?, newest.optional()?) else { return Ok(None) };
        Ok(Some((first, last)))
    }

    /// Returns the coarsest level, which reaches back farthest.
    fn top(&self) -> Result<Option<u32>, HistoryError> {
        let last = "SELECT id FROM epochs ORDER BY id DESC LIMIT 1";
        let last: Option<i64> =
            self.connection.prepare_cached(last)?.query_row([], |row| row.get(0)).optional()?;
        Ok(last.map(layout::level))
    }

    /// Returns the first epoch of a level.
    fn first(&self, level: u32) -> Result<Option<u64>, HistoryError> {
        let first = "SELECT epoch FROM epochs WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1";
        let range = [layout::row(level, 0), layout::row(level + 1, 0) - 1];
        Ok(self.connection.prepare_cached(first)?.query_row(range, |row| row.get(0)).optional()?)
    }

    fn report(&self, epoch: u64) -> Result<Option<Report>, HistoryError> {
        let columns: String = self.meters.iter().map(|name| format!(", {name}")).collect();
        let ask = format!("SELECT ended_ms{columns} FROM epochs WHERE id = ?1 AND epoch = ?2");
        let row = params![layout::row(0, layout::place(0, epoch)), epoch];
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

    fn series(&self, epochs: &RangeInclusive<u64>, points: u64) -> Result<Vec<Point>, HistoryError> {
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
        let range = [first, last].map(|epoch| layout::row(level, layout::place(level, epoch)));
        let mut ask = self.connection.prepare_cached(&ask)?;
        let found = ask.query_map(range, |row| self.point(row))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Returns whether a level covers these epochs in few enough points.
    fn suits(&self, level: u32, first: u64, last: u64, points: u64) -> Result<bool, HistoryError> {
        let [from, to] = [first, last].map(|epoch| layout::place(level, epoch));
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

    fn lines(&self, most: usize) -> Result<Vec<Line>, HistoryError> {
        let ask = "SELECT at_ms, level, module, text FROM lines ORDER BY id DESC LIMIT ?1";
        let mut ask = self.connection.prepare_cached(ask)?;
        let found = ask.query_map([most], |row| {
            Ok(Line { at_ms: row.get(0)?, level: row.get(1)?, module: row.get(2)?, text: row.get(3)? })
        })?;
        let mut lines: Vec<Line> = found.collect::<Result<_, _>>()?;
        lines.reverse();
        Ok(lines)
    }
}
