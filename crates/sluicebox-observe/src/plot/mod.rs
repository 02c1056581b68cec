//! `plot`: the history of a job as a file: a whole report (`.html`) or one chart (`.svg`, `.png`).
//!
//! - `data`: the part of the history that is plotted; `chart`: data of one chart
//! - `draw`: drawing, of `marks` too; `scale`: formats of numbers
//! - `page`: the report, from `tables` and charts

mod chart;
mod data;
mod draw;
mod marks;
mod page;
mod scale;
mod tables;

use crate::history::History;
use chart::Chart;
use data::{PlotData, meter};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::Meter;
use std::ops::RangeInclusive;
use std::path::Path;

/// Meters of a chart by default.
const USUAL: [&str; 4] = ["accuracy", "network_accuracy", "prequential_accuracy", "pseudo_label_precision"];

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
            _ => Err(Error::file(output, "the file name must end in .html, .svg or .png")),
        }
    }
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
    let data = PlotData::read(&History::read(state)?, state, &epochs)?;
    let bytes = match kind {
        Kind::Html => page::page(&data, &meters).map(String::into_bytes),
        Kind::Svg => draw::svg(&single(&data, &meters)?).map(String::into_bytes),
        Kind::Png => draw::png(&single(&data, &meters)?),
    };
    let bytes = bytes.map_err(|reason| Error::file(output, format!("cannot be drawn: {reason}")))?;
    std::fs::write(output, bytes)
        .map_err(|error| Error::file(output, format!("cannot be written: {error}")))?;
    Ok(data.epochs.0..=data.epochs.1)
}

/// Returns one chart with all requested meters.
fn single(data: &PlotData, meters: &[&'static Meter]) -> Result<Chart> {
    let usual: Vec<&Meter> = USUAL.iter().map(|name| meter(name)).collect::<Result<_>>()?;
    let asked = if meters.is_empty() { &usual } else { meters };
    if let Some(other) = asked.iter().find(|meter| meter.unit != asked[0].unit) {
        let [one, two] =
            [asked[0], other].map(|meter| format!("`{}` is in {}", meter.name, scale::of(meter.unit)));
        return Err(Error::request(format!("{one}, but {two}: draw each in its own chart")));
    }
    let names: Vec<String> = asked.iter().map(|meter| meter.label()).collect();
    let title = format!("{}: {}", data.about.job, names.join(", "));
    let chart = Chart::new(&title, asked, &data.points, &data.marks);
    if !meters.is_empty()
        && let Some(meter) = meters.iter().find(|meter| !chart.has(meter))
    {
        let (first, last) = data.epochs;
        let reason = format!("`{}` has no value in epochs {first} to {last}", meter.name);
        return Err(Error::request(reason));
    }
    match chart.is_empty() {
        true => {
            Err(Error::request("accuracy and precision have no values: name the meters to draw with --meter"))
        }
        false => Ok(chart),
    }
}
