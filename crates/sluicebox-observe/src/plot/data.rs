//! The part of a history that is plotted.

use crate::history::{History, Point};
use crate::verdict::{Verdict, of_history};
use sluicebox_core::config::document::unknown;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::{About, JobMeters, Mark, Meter, Meters, Report};
use std::ops::RangeInclusive;
use std::path::Path;

/// Points per chart.
const POINTS: usize = 1000;
/// Marks of each kind per chart.
const MARKS: usize = 200;

/// A job's data within the requested epochs.
pub struct PlotData {
    /// Description of the job in its newest run.
    pub about: About,
    /// Number of runs of the job, and start of the first in ms since 1970, UTC.
    pub runs: (usize, u64),
    /// First and last epoch drawn.
    pub epochs: (u64, u64),
    /// Points of the charts, the oldest first.
    pub points: Vec<Point>,
    /// All epochs folded into one point.
    pub whole: Point,
    /// Report of the newest epoch.
    pub newest: Report,
    /// What happened to the job in these epochs.
    pub marks: Vec<Mark>,
    /// The verdicts on it.
    pub verdicts: Vec<Verdict>,
}

impl PlotData {
    /// Reads the epochs `epochs` of the history in the state folder `state`.
    pub fn read(history: &History, state: &Path, epochs: &RangeInclusive<u64>) -> Result<Self> {
        let (from, to) = (*epochs.start(), *epochs.end());
        if from > to {
            return Err(Error::request(format!("--from {from} is after --to {to}")));
        }
        let Some((first, last)) = history.span()? else {
            return Err(Error::file(
                state,
                "there is nothing to draw yet: its job has not finished an epoch",
            ));
        };
        let points = history.series(from..=to, POINTS)?;
        let (Some(oldest), Some(latest)) = (points.first(), points.last()) else {
            let reason = format!("its history has epochs {first} to {last}, and none of those requested");
            return Err(Error::file(state, reason));
        };
        let epochs = (oldest.first_epoch, latest.last_epoch);
        let runs = history.runs()?;
        let begun = runs.first().map_or(0, |run| run.started_ms);
        let newest = Report { epoch: epochs.1, job: latest.mean.clone(), ..Report::default() };
        let newest = history.report(epochs.1)?.unwrap_or(newest);
        Ok(Self {
            verdicts: of_history(history, &newest, newest.ended_ms)?,
            about: history.about()?,
            runs: (runs.len(), begun),
            newest,
            whole: history.series(from..=to, 1)?.pop().unwrap_or_default(),
            marks: history.marks(epochs.0..=epochs.1, MARKS)?,
            epochs,
            points,
        })
    }
}

/// Returns the meter called `name`.
pub fn meter(name: &str) -> Result<&'static Meter> {
    let names = || JobMeters::METERS.iter().map(|meter| meter.name).collect::<Vec<_>>();
    JobMeters::meter(name).ok_or_else(|| Error::request(unknown("meter", name, &names())))
}
