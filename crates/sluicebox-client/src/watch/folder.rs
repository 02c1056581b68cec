//! Reads a state folder, of a finished job or of one that runs without a server.

use crate::watch::job_view::{Command, JobView};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::{About, Line, Mark, Progress, Report};
use sluicebox_observe::history::{History, Point};
use sluicebox_observe::verdict::{Verdict, of_history};
use std::ops::RangeInclusive;
use std::path::Path;

/// Lines of the log that are read.
const LINES: usize = 1000;
/// Marks of each kind that are read.
const MARKS: usize = 500;

/// A state folder.
pub struct Folder {
    history: History,
}

impl Folder {
    /// Opens the history in `path`.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { history: History::read(path)? })
    }
}

impl JobView for Folder {
    fn about(&mut self) -> Result<About> {
        self.history.about()
    }

    fn progress(&mut self) -> Result<Option<Progress>> {
        Ok(None)
    }

    fn span(&mut self) -> Result<Option<(u64, u64)>> {
        self.history.span()
    }

    fn report(&mut self, epoch: u64) -> Result<Option<Report>> {
        self.history.report(epoch)
    }

    /// Ages are counted up to the end of the epoch: whether the job still runs is not known.
    fn verdicts(&mut self, epoch: u64) -> Result<Vec<Verdict>> {
        let report = self.history.report(epoch)?;
        report.map_or_else(|| Ok(Vec::new()), |report| of_history(&self.history, &report, report.ended_ms))
    }

    fn series(&mut self, epochs: RangeInclusive<u64>, points: usize) -> Result<Vec<Point>> {
        self.history.series(epochs, points)
    }

    fn marks(&mut self, epochs: RangeInclusive<u64>) -> Result<Vec<Mark>> {
        self.history.marks(epochs, MARKS)
    }

    fn lines(&mut self) -> Result<Vec<Line>> {
        self.history.lines(LINES)
    }

    fn send(&mut self, command: Command) -> Result<()> {
        let reason = format!(
            "a state folder takes no commands such as {}: watch the job's address instead",
            command.name()
        );
        Err(Error::Request(reason))
    }

    fn takes_commands(&self) -> bool {
        false
    }
}
