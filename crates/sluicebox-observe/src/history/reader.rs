//! Reads a history, also while it is written.

use crate::history::error::HistoryError;
use crate::history::file::{FILE, Place};
use crate::history::point::Point;
use crate::history::queries::{Open, identity};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::{About, Line, Mark, Report};
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::Path;

/// Reads a history, also while it is written.
///
/// ```
/// use sluicebox_core::observers::{Event, Observer};
/// use sluicebox_core::report::{About, JobMeters, Report};
/// use sluicebox_observe::history::{History, HistoryWriter, settings};
/// use std::sync::Arc;
///
/// let state = tempfile::tempdir()?;
/// let retention = settings::History::default();
/// let mut writer = HistoryWriter::open(Some(state.path()), &retention, &About::default())?;
/// for epoch in 1..=100u64 {
///     let job = JobMeters { accuracy: Some(epoch as f64 / 100.0), ..JobMeters::default() };
///     writer.notify(&[Event::Epoch(Arc::new(Report { epoch, job, ..Report::default() }))])?;
/// }
///
/// let history = History::read(state.path())?;
/// assert_eq!(history.span()?, Some((1, 100)));
/// let points = history.series(1..=100, 20)?;
/// assert!(points.len() <= 20);
/// assert_eq!((points[0].first_epoch, points[0].last_epoch), (1, 8));
/// assert_eq!(points[0].high.accuracy, Some(0.08));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct History {
    place: Place,
    open: RefCell<Open>,
}

impl History {
    /// Opens the history in the state folder `state`.
    pub fn read(state: &Path) -> Result<Self> {
        if !state.is_dir() {
            return Err(Error::file(state, "this folder does not exist; name the state folder of a job"));
        }
        let path = state.join(FILE);
        if !path.exists() {
            let reason =
                "there is no history in this folder: it is not a state folder, or its job has not started";
            return Err(Error::file(state, reason));
        }
        Self::at(Place::File(path))
    }

    pub(super) fn at(place: Place) -> Result<Self> {
        let open = Open::new(&place).map_err(|error| error.of(place.path()))?;
        Ok(Self { place, open: RefCell::new(open) })
    }

    /// Returns the description of the job in each of its newest runs, the oldest first.
    pub fn runs(&self) -> Result<Vec<About>> {
        let all = self.ask(Open::runs)?;
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

    /// Returns the newest `most` marks of each kind in `epochs`, in the order in which they were made.
    pub fn marks(&self, epochs: RangeInclusive<u64>, most: usize) -> Result<Vec<Mark>> {
        self.ask(|open| open.marks(&epochs, most))
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
        answer().map_err(|error| error.of(self.place.path()))
    }
}
