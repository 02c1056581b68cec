//! `plot`: the history of a job as a file: a whole report (`.html`) or one chart (`.svg`, `.png`).
//!
//! - `chart` data of a chart, from points of the history
//! - `draw` drawing; `scale` formats of numbers
//! - `page` the report, from `tables` and charts

mod chart;
mod draw;
mod page;
mod scale;
mod tables;

use crate::history::{History, Point};
use chart::Chart;
use sluicebox_core::config::document::unknown;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::{About, JobMeters, Meter, Meters, Report};
use std::ops::RangeInclusive;
use std::path::Path;

/// Points per chart.
const POINTS: usize = 1000;
/// Meters of a chart by default.
const USUAL: [&str; 3] = ["accuracy", "prequential_accuracy", "pseudo_label_precision"];

/// Kind of the output file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Html,
    Svg,
    Png,
}

impl Kind {
    fn of(output: &Path) -> Result<Self> {
        let extension = output.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "html" | "htm" => Ok(Self::Html),
            "svg" => Ok(Self::Svg),
            "png" => Ok(Self::Png),
            _ => Err(Error::file(output, "what is to be written? end the name in .html, .svg or .png")),
        }
    }
}

/// A job's data within the requested epochs.
struct Facts {
    about: About,
    /// Number of runs of the job, and start of the first in ms since 1970, UTC.
    runs: (usize, u64),
    /// First and last epoch drawn.
    epochs: (u64, u64),
    points: Vec<Point>,
    /// All epochs folded into one point.
    whole: Point,
    /// Report of the newest epoch.
    newest: Report,
}

/// Draws the history in the state folder `state` into the file `output`, whose extension decides
/// its kind. `meters` are named as in reports; empty: the default ones. Returns the epochs drawn.
pub fn plot(
    state: &Path,
    output: &Path,
    meters: &[String],
    epochs: RangeInclusive<u64>,
) -> Result<RangeInclusive<u64>> {
    let kind = Kind::of(output)?;
    let meters = meters.iter().map(|name| meter(name)).collect::<Result<Vec<_>>>()?;
    let facts = facts(&History::read(state)?, state, &epochs)?;
    let bytes = match kind {
        Kind::Html => page::page(&facts, &meters).map(String::into_bytes),
        Kind::Svg => draw::svg(&single(&facts, &meters)?).map(String::into_bytes),
        Kind::Png => draw::png(&single(&facts, &meters)?),
    };
    let bytes = bytes.map_err(|reason| Error::file(output, format!("cannot be drawn: {reason}")))?;
    std::fs::write(output, bytes)
        .map_err(|error| Error::file(output, format!("cannot be written: {error}")))?;
    Ok(facts.epochs.0..=facts.epochs.1)
}

/// Returns the meter called `name`.
fn meter(name: &str) -> Result<&'static Meter> {
    let found = JobMeters::METERS.iter().find(|meter| meter.name == name);
    let names = || JobMeters::METERS.iter().map(|meter| meter.name).collect::<Vec<_>>();
    found.ok_or_else(|| Error::request(unknown("meter", name, &names())))
}

fn facts(history: &History, state: &Path, epochs: &RangeInclusive<u64>) -> Result<Facts> {
    let (from, to) = (*epochs.start(), *epochs.end());
    if from > to {
        return Err(Error::request(format!("--from {from} is after --to {to}")));
    }
    let Some((first, last)) = history.span()? else {
        return Err(Error::file(state, "there is nothing to draw yet: no epoch of its job has ended"));
    };
    let points = history.series(from..=to, POINTS)?;
    let (Some(oldest), Some(latest)) = (points.first(), points.last()) else {
        let reason =
            format!("its history is of epochs {first} to {last}: nothing is known of those asked for");
        return Err(Error::file(state, reason));
    };
    let epochs = (oldest.first_epoch, latest.last_epoch);
    let runs = history.runs()?;
    let begun = runs.first().map_or(0, |run| run.started_ms);
    let newest = Report { epoch: epochs.1, job: latest.mean.clone(), ..Report::default() };
    Ok(Facts {
        about: history.about()?,
        runs: (runs.len(), begun),
        newest: history.report(epochs.1)?.unwrap_or(newest),
        whole: history.series(from..=to, 1)?.pop().unwrap_or_default(),
        epochs,
        points,
    })
}

/// Returns one chart with all requested meters.
fn single(facts: &Facts, meters: &[&'static Meter]) -> Result<Chart> {
    let usual: Vec<&Meter> = USUAL.iter().map(|name| meter(name)).collect::<Result<_>>()?;
    let asked = if meters.is_empty() { &usual } else { meters };
    if let Some(other) = asked.iter().find(|meter| meter.unit != asked[0].unit) {
        let [one, two] =
            [asked[0], other].map(|meter| format!("`{}` counts {}", meter.name, scale::of(meter.unit)));
        return Err(Error::request(format!("{one}, but {two}: draw each into a chart of its own")));
    }
    let names: Vec<String> = asked.iter().map(|meter| scale::words(meter.name)).collect();
    let title = format!("{}: {}", facts.about.job, names.join(", "));
    let chart = Chart::new(&title, asked, &facts.points);
    if !meters.is_empty()
        && let Some(meter) = meters.iter().find(|meter| !chart.has(meter))
    {
        let (first, last) = facts.epochs;
        let reason = format!("nothing is known of `{}` in epochs {first} to {last}", meter.name);
        return Err(Error::request(reason));
    }
    match chart.is_empty() {
        true => {
            Err(Error::request("nothing is known of accuracy or precision: name what to draw by --meter"))
        }
        false => Ok(chart),
    }
}
