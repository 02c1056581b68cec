//! Changes to a history within one transaction: new epochs and lines, coarser levels, retention.

use crate::history::details::Details;
use crate::history::error::HistoryError;
use crate::history::schema;
use crate::history::settings;
use rusqlite::params;
use sluicebox_core::observers::Event;
use sluicebox_core::report::{Line, Mark, Meters, Report};

/// Marks of each kind that are kept.
pub const MARKS: u64 = 2000;

/// Writes within one transaction; `inner` commits it.
pub struct Transaction<'a> {
    /// The transaction of SQLite.
    pub inner: rusqlite::Transaction<'a>,
    /// How much is kept.
    pub retention: &'a settings::History,
    /// The newest epoch written.
    pub newest: u64,
}

impl Transaction<'_> {
    /// Writes events in order; an epoch that is not newer than the newest first deletes those from it on.
    pub fn append(&mut self, events: &[Event]) -> Result<(), HistoryError> {
        let mut first = None;
        for event in events {
            match event {
                Event::Line(line) => self.line(line)?,
                Event::Mark(mark) => self.mark(mark)?,
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
        self.inner.prepare_cached(lines)?.execute([self.retention.lines])?;
        Ok(())
    }

    fn line(&self, line: &Line) -> Result<(), HistoryError> {
        let insert = "INSERT INTO lines (at_ms, level, module, text) VALUES (?1, ?2, ?3, ?4)";
        let Line { at_ms, level, module, text } = line;
        self.inner.prepare_cached(insert)?.execute(params![at_ms, level, module, text])?;
        Ok(())
    }

    /// Adds a mark, and deletes the oldest of its kind beyond [`MARKS`].
    fn mark(&self, mark: &Mark) -> Result<(), HistoryError> {
        let Mark { at_ms, epoch, step, kind, text } = mark;
        let insert = "INSERT INTO marks (at_ms, epoch, step, kind, text) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.inner.prepare_cached(insert)?.execute(params![at_ms, epoch, step, kind.name(), text])?;
        let forget = "DELETE FROM marks WHERE kind = ?1 AND id <=
            (SELECT id FROM marks WHERE kind = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
        self.inner.prepare_cached(forget)?.execute(params![kind.name(), MARKS])?;
        Ok(())
    }

    fn epoch(&self, report: &Report) -> Result<(), HistoryError> {
        let mut insert = self.inner.prepare_cached(&schema::insert())?;
        let number = schema::row(0, schema::place(0, report.epoch));
        insert.raw_bind_parameter(1, number)?;
        insert.raw_bind_parameter(2, report.epoch)?;
        insert.raw_bind_parameter(3, report.ended_ms)?;
        for (at, value) in report.job.values().into_iter().enumerate() {
            insert.raw_bind_parameter(4 + at, value)?;
        }
        insert.raw_execute()?;
        let json = Details::of(report);
        let insert = "REPLACE INTO details VALUES (?1, ?2)";
        self.inner.prepare_cached(insert)?.execute(params![report.epoch, json])?;
        Ok(())
    }

    /// Updates the coarser levels with the epochs from `first` to the newest. Each row is recomputed from the
    /// rows below it, so repeating this is harmless.
    fn fold(&self, first: u64) -> Result<(), HistoryError> {
        let mut fold = self.inner.prepare_cached(&schema::fold())?;
        for level in 1..=schema::TOP {
            if schema::place(level - 1, self.newest) == 0 {
                break; // one row covers all epochs
            }
            for place in schema::place(level, first)..=schema::place(level, self.newest) {
                let (low, high) = schema::below(level, place);
                fold.execute(params![schema::row(level, place), level, low, high])?;
            }
        }
        Ok(())
    }

    /// Deletes rows beyond the retention limits.
    fn forget(&self) -> Result<(), HistoryError> {
        let mut rows = self.inner.prepare_cached("DELETE FROM epochs WHERE id BETWEEN ?1 AND ?2")?;
        for level in 0..=schema::TOP {
            match schema::place(level, self.newest).checked_sub(self.retention.epochs) {
                Some(last) => rows.execute([schema::row(level, 0), schema::row(level, last)])?,
                None => break,
            };
        }
        let details = "DELETE FROM details WHERE epoch <= ?1";
        let last = self.newest.saturating_sub(self.retention.details);
        self.inner.prepare_cached(details)?.execute([last])?;
        Ok(())
    }

    /// Deletes the epochs after `last`, where the job resumes.
    pub fn rewind(&mut self, last: u64) -> Result<(), HistoryError> {
        if last >= self.newest {
            return Ok(());
        }
        let mut rows = self.inner.prepare_cached("DELETE FROM epochs WHERE id BETWEEN ?1 AND ?2")?;
        for level in 0..=schema::TOP {
            let first = schema::row(level, schema::place(level, last + 1));
            rows.execute([first, schema::row(level + 1, 0) - 1])?;
        }
        drop(rows);
        self.inner.execute("DELETE FROM details WHERE epoch > ?1", [last])?;
        self.newest = last;
        match last {
            0 => Ok(()),
            _ => self.fold(last),
        }
    }

    /// Deletes the marks after `step`, from which the job goes on: what they tell of happens again.
    pub fn unmark_after(&mut self, step: u64) -> Result<(), HistoryError> {
        let last = i64::try_from(step).unwrap_or(i64::MAX); // the greatest that the file can hold
        self.inner.execute("DELETE FROM marks WHERE step > ?1", [last])?;
        Ok(())
    }
}
