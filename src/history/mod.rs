//! The history of a job, which outlives its process.

use crate::error::{Error, Result};
use crate::job;
use crate::observers::{Event, Observer};
use crate::report::{About, JobMeters, Line, Report};
use serde::Serialize;
use std::ops::RangeInclusive;
use std::path::Path;

/// One or more epochs, folded.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Point {
    /// The first of them.
    pub first_epoch: u64,
    /// The last of them.
    pub last_epoch: u64,
    /// When the last of them ended: ms since 1970, UTC.
    pub ended_ms: u64,
    /// The mean of each number; of totals the last.
    pub mean: JobMeters,
    /// The least of each.
    pub low: JobMeters,
    /// The greatest of each.
    pub high: JobMeters,
}

/// Writes the history. One for a job.
pub struct Historian {}

impl Historian {
    /// Opens or makes the history in the state folder `state`. None: in memory.
    pub fn open(_state: Option<&Path>, _retention: &job::History, _about: &About) -> Result<Self> {
        Ok(Self {})
    }

    /// Someone who reads what this one writes.
    pub fn reader(&self) -> Result<History> {
        Ok(History {})
    }
}

impl Observer for Historian {
    fn name(&self) -> String {
        "history".into()
    }

    fn tell(&mut self, _events: &[Event]) -> Result<()> {
        Ok(())
    }
}

/// Reads a history, also while it is written.
pub struct History {}

impl History {
    /// The history in the state folder `state`.
    pub fn read(state: &Path) -> Result<Self> {
        Err(Error::file(state, "not there yet"))
    }

    /// What the job is.
    pub fn about(&self) -> Result<About> {
        Ok(About::default())
    }

    /// The first and the last epoch of which anything is known.
    pub fn span(&self) -> Result<Option<(u64, u64)>> {
        Ok(None)
    }

    /// The report of an epoch, with its details while they are kept.
    pub fn report(&self, _epoch: u64) -> Result<Option<Report>> {
        Ok(None)
    }

    /// At most `points` points that cover `epochs`, the oldest first.
    pub fn series(&self, _epochs: RangeInclusive<u64>, _points: usize) -> Result<Vec<Point>> {
        Ok(Vec::new())
    }

    /// The newest lines of the log, the oldest first.
    pub fn lines(&self, _most: usize) -> Result<Vec<Line>> {
        Ok(Vec::new())
    }
}
