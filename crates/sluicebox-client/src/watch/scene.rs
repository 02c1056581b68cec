//! What the screen shows, and which epochs it asks for.

use sluicebox_core::report::{About, Line, Mark, Progress, Report};
use sluicebox_observe::history::Point;
use sluicebox_observe::verdict::Verdict;
use std::sync::Arc;

/// The epochs that the screen asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Epoch of the report; none: the newest.
    pub at: Option<u64>,
    /// Last epoch drawn; none: the newest.
    pub until: Option<u64>,
    /// Number of epochs in the charts; none: all.
    pub epochs: Option<u64>,
    /// Number of points that the charts have room for.
    pub points: usize,
}

impl Look {
    /// Returns the first and last epoch of the charts, given those with data.
    pub fn range(&self, (first, newest): (u64, u64)) -> (u64, u64) {
        let last = self.until.unwrap_or(newest).clamp(first, newest);
        let Some(epochs) = self.epochs else { return (first, last) };
        let latest = (last + 1).saturating_sub(epochs).max(first);
        let from = self.at.map_or(latest, |at| at.saturating_sub(epochs / 2).clamp(first, latest));
        (from, (from + epochs.max(1) - 1).min(last))
    }
}

/// State of the connection to the job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Link {
    /// The job answers.
    #[default]
    Up,
    /// The job does not answer, for this reason; the reader retries.
    Lost(String),
}

/// Everything that is shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scene {
    /// The job's description.
    pub about: Arc<About>,
    /// The job's progress, where known.
    pub progress: Option<Progress>,
    /// The first and the newest epoch with data.
    pub span: Option<(u64, u64)>,
    /// The report of the epoch shown.
    pub report: Option<Arc<Report>>,
    /// The verdicts on it.
    pub verdicts: Arc<Vec<Verdict>>,
    /// First and last epoch of the charts.
    pub epochs: (u64, u64),
    /// What happened to the job in these epochs.
    pub marks: Arc<Vec<Mark>>,
    /// Points of the charts.
    pub series: Arc<Vec<Point>>,
    /// The log, oldest line first.
    pub lines: Arc<Vec<Line>>,
    /// State of the connection.
    pub link: Link,
    /// Whether the job accepts requests.
    pub takes_commands: bool,
}

impl Scene {
    /// Returns whether the job is known to be over.
    pub fn is_over(&self) -> bool {
        self.progress.is_some_and(|progress| progress.over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { at: None, until: None, epochs: None, points: 100 };

    #[test]
    fn charts_show_the_epochs_that_are_asked_for() {
        assert_eq!(LOOK.range((1, 1000)), (1, 1000));
        assert_eq!(Look { epochs: Some(10), ..LOOK }.range((1, 1000)), (991, 1000));
        assert_eq!(Look { epochs: Some(10), at: Some(500), ..LOOK }.range((1, 1000)), (495, 504));
        assert_eq!(Look { epochs: Some(10), at: Some(2), ..LOOK }.range((1, 1000)), (1, 10));
        assert_eq!(Look { epochs: Some(10), at: Some(999), ..LOOK }.range((1, 1000)), (991, 1000));
        assert_eq!(Look { until: Some(700), ..LOOK }.range((1, 1000)), (1, 700));
        assert_eq!(Look { epochs: Some(5000), at: Some(7), ..LOOK }.range((3, 9)), (3, 9));
        assert_eq!(Look { until: Some(1), ..LOOK }.range((3, 9)), (3, 3));
    }
}
