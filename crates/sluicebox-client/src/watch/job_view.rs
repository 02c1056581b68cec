//! Interface between the screen and a job: the data that `watch` reads and the requests that it sends, for a
//! running job (`remote`) and for a state folder (`folder`).

use sluicebox_core::error::Result;
use sluicebox_core::report::{About, Line, Mark, Progress, Report};
use sluicebox_observe::history::Point;
use sluicebox_observe::verdict::Verdict;
use std::ops::RangeInclusive;

/// Request to a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Stop cutting micro-batches into steps.
    Pause,
    /// Resume.
    Resume,
    /// Write a checkpoint after the next step.
    Checkpoint,
}

impl Command {
    /// Name in addresses and messages.
    pub fn name(self) -> &'static str {
        match self {
            Command::Pause => "pause",
            Command::Resume => "resume",
            Command::Checkpoint => "checkpoint",
        }
    }

    /// Start of the confirmation question.
    pub fn question(self) -> &'static str {
        match self {
            Command::Pause => "Pause",
            Command::Resume => "Resume",
            Command::Checkpoint => "Write a checkpoint of",
        }
    }
}

/// Source of a job's data. One thread calls it and may block.
pub trait JobView: Send {
    /// Returns the job's description; a restart changes it.
    fn about(&mut self) -> Result<About>;

    /// Returns the job's progress; none for a state folder.
    fn progress(&mut self) -> Result<Option<Progress>>;

    /// Returns the first and the newest epoch with data.
    fn span(&mut self) -> Result<Option<(u64, u64)>>;

    /// Returns the report of an epoch, if it is still kept.
    fn report(&mut self, epoch: u64) -> Result<Option<Report>>;

    /// Returns the verdicts on the report of an epoch, if it is still kept.
    fn verdicts(&mut self, epoch: u64) -> Result<Vec<Verdict>>;

    /// Returns at most `points` points that cover `epochs`, oldest first.
    fn series(&mut self, epochs: RangeInclusive<u64>, points: usize) -> Result<Vec<Point>>;

    /// Returns what happened to the job in `epochs`.
    fn marks(&mut self, epochs: RangeInclusive<u64>) -> Result<Vec<Mark>>;

    /// Returns the newest lines of the log, oldest first.
    fn lines(&mut self) -> Result<Vec<Line>>;

    /// Sends a request to the job.
    fn send(&mut self, command: Command) -> Result<()>;

    /// Returns whether the job accepts requests.
    fn takes_commands(&self) -> bool;
}
