//! Charts of meters over epochs.

use crate::watch::app::App;
use crate::watch::style::{FAINT, pane, titled};
use crate::watch::units;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Span;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType};
use sluicebox_core::report::{JobMeters, Mark, MarkKind, Meter, Meters, Unit};

/// Charts after the throughput chart: name and meters. All meters of a chart have the same unit.
const CHARTS: [(&str, &[&str]); 5] = [
    ("accuracy", &["accuracy", "network_accuracy", "prequential_accuracy", "ledger_accuracy"]),
    ("filter", &["accepted_fraction", "pseudo_label_precision", "threshold"]),
    ("waiting", &["credit_wait_fraction", "source_wait_fraction", "idle_fraction"]),
    ("loss", &["labelled_loss", "unlabelled_loss"]),
    ("stream", &["drift", "coverage", "agreement"]),
];
/// Colours of a chart's lines, in the order of its meters.
const COLOURS: [Color; 4] = [Color::Cyan, Color::Magenta, Color::Green, Color::Blue];
/// Columns and lines below which a chart is left out.
const LEAST: (u16, u16) = (16, 4);

/// Draws the first `count` charts side by side.
pub fn few(frame: &mut Frame, area: Rect, app: &App, count: usize) {
    let columns = Layout::horizontal(vec![Constraint::Fill(1); count]).spacing(1).split(area);
    columns.iter().enumerate().for_each(|(at, area)| chart(frame, *area, app, at));
}

/// Draws all charts.
pub fn every(frame: &mut Frame, area: Rect, app: &App) {
    let count = CHARTS.len() + 1;
    let across = if area.width >= 120 { 3 } else { 2 };
    let rows = Layout::vertical(vec![Constraint::Fill(1); count.div_ceil(across)]).split(area);
    for (row, area) in rows.iter().enumerate() {
        let columns = Layout::horizontal(vec![Constraint::Fill(1); across]).spacing(1).split(*area);
        columns.iter().enumerate().for_each(|(at, area)| chart(frame, *area, app, row * across + at));
    }
}

/// Draws chart `at`; 0 is the throughput chart.
fn chart(frame: &mut Frame, area: Rect, app: &App, at: usize) {
    let rate = [app.rate()];
    let (name, numbers) = match at {
        0 => ("throughput", &rate[..]),
        _ => match CHARTS.get(at - 1) {
            Some((name, numbers)) => (*name, *numbers),
            None => return,
        },
    };
    if area.width < LEAST.0 || area.height < LEAST.1 {
        return;
    }
    let lines: Vec<Drawn> = numbers.iter().filter_map(|name| Drawn::new(app, name)).collect();
    let known: Vec<&Drawn> = lines.iter().filter(|line| line.is_known()).collect();
    // Meters that the job lacks are left out of the title, unless the chart has no other.
    let titles = if known.is_empty() { lines.iter().take(1).collect() } else { known.clone() };
    let alone = numbers.len() == 1;
    let spans =
        titles.iter().zip(COLOURS).map(|(line, colour)| line.title(app, name, alone, colour)).collect();
    let inner = pane(frame, area, titled(name, spans));
    draw(frame, inner, app, &known);
}

/// A meter over the epochs of the charts.
struct Drawn {
    meter: &'static Meter,
    now: Option<f64>,
    points: Vec<(f64, f64)>,
}

impl Drawn {
    fn new(app: &App, name: &str) -> Option<Self> {
        let meter = JobMeters::meter(name)?;
        let value = |job: &JobMeters| job.value(name);
        let points =
            app.scene.series.iter().filter_map(|point| Some((point.last_epoch as f64, value(&point.mean)?)));
        let now = app.scene.report.as_ref().and_then(|report| value(&report.job));
        Some(Self { meter, now, points: points.collect() })
    }

    fn is_known(&self) -> bool {
        self.now.is_some() || !self.points.is_empty()
    }

    fn title(&self, app: &App, chart: &str, alone: bool, colour: Color) -> Span<'static> {
        let name = self.meter.label();
        let value = match self.meter.unit {
            Unit::Share => units::share(self.now, app.fractions),
            unit => units::text(self.now, unit, app.fractions),
        };
        // The chart's title is not repeated, and the last word is enough to distinguish its meters.
        let name = name.trim_end_matches("/s").trim_end_matches(chart).trim_end();
        let name = match alone {
            true => name,
            false => name.trim_end_matches(" wait").rsplit(' ').next().unwrap_or(name),
        };
        let name = if name.is_empty() { String::new() } else { format!("{name} ") };
        Span::styled(format!("{name}{value} "), Style::new().fg(colour))
    }
}

fn draw(frame: &mut Frame, area: Rect, app: &App, lines: &[&Drawn]) {
    let unit = lines.first().map_or(Unit::Plain, |line| line.meter.unit);
    let (from, to) = app.scene.epochs;
    let (low, high) = bounds(unit, lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value)));
    let at = app.scene.report.as_ref().map_or(to, |report| report.epoch) as f64;
    let mark = [(at, low), (at, high)];
    let marks = marks(app, (low, high));
    let mut sets: Vec<Dataset> = marks.iter().map(|(line, colour)| set(line, *colour)).collect();
    if app.is_still() {
        sets.push(set(&mark, Color::Yellow));
    }
    sets.extend(lines.iter().zip(COLOURS).map(|(line, colour)| set(&line.points, colour)));
    let written = |value| match unit {
        Unit::Share => units::share(Some(value), app.fractions),
        _ => units::short(value),
    };
    // A single epoch is drawn in the middle.
    let (left, right) =
        if from == to { (from as f64 - 1.0, to as f64 + 1.0) } else { (from as f64, to as f64) };
    let x = Axis::default().bounds([left, right]).style(FAINT).labels([from.to_string(), to.to_string()]);
    let y = Axis::default().bounds([low, high]).style(FAINT).labels([written(low), written(high)]);
    frame.render_widget(Chart::new(sets).x_axis(x).y_axis(y).legend_position(None), area);
}

/// Returns a line in a colour.
fn set(points: &[(f64, f64)], colour: Color) -> Dataset<'_> {
    let set = Dataset::default().data(points).marker(Marker::Braille);
    set.graph_type(GraphType::Line).style(Style::new().fg(colour))
}

/// Returns the lines of what happened within the epochs of the charts, from `low` to `high`. Checkpoints are left out:
/// there are too many of them for lines of a terminal.
fn marks(app: &App, (low, high): (f64, f64)) -> Vec<([(f64, f64); 2], Color)> {
    let (from, to) = app.scene.epochs;
    let colour = |kind| match kind {
        MarkKind::Drift => Some(Color::Yellow),
        MarkKind::Gate | MarkKind::Alarm | MarkKind::Failure => Some(Color::Red),
        MarkKind::Restart => Some(Color::DarkGray),
        MarkKind::Checkpoint => None,
    };
    let within = app.scene.marks.iter().filter(|mark| (from..=to).contains(&mark.epoch));
    let line = |mark: &Mark| {
        let at = mark.epoch as f64;
        Some(([(at, low), (at, high)], colour(mark.kind)?))
    };
    within.filter_map(line).collect()
}

/// Returns round limits of the y axis: for fractions, the range of the values rounded outwards to
/// twentieths; for other units, a range that includes 0.
fn bounds(unit: Unit, values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return (0.0, 1.0);
    }
    if unit == Unit::Share {
        let (low, high) = ((low * 20.0).floor() / 20.0, (high * 20.0).ceil() / 20.0);
        return if low < high { (low, high) } else { (low - 0.05, high + 0.05) };
    }
    let (low, high) = (low.min(0.0), high.max(0.0));
    if high == 0.0 {
        return (low, if low < 0.0 { 0.0 } else { 1.0 });
    }
    let size = 10f64.powf(high.log10().floor());
    let round = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0].map(|factor| factor * size);
    let high = round.into_iter().find(|round| *round >= high).unwrap_or(high);
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let of = |unit, values: &[f64]| bounds(unit, values.iter().copied());
        assert_eq!(of(Unit::PerSecond, &[27_948.0, 32_306.0]), (0.0, 40_000.0));
        assert_eq!(of(Unit::Plain, &[-2.0, 0.31]).0, -2.0);
        assert_eq!(of(Unit::Plain, &[]), (0.0, 1.0));
        assert_eq!(of(Unit::Plain, &[0.0]), (0.0, 1.0));
        let (low, high) = of(Unit::Share, &[0.912, 0.977]);
        assert!((low - 0.9).abs() < 1e-9 && (high - 1.0).abs() < 1e-9);
        let (low, high) = of(Unit::Share, &[0.0]);
        assert!(low < 0.0 && high > 0.0);
    }

    #[test]
    fn the_numbers_of_a_chart_exist_and_have_one_unit() {
        for (name, numbers) in CHARTS {
            let units = numbers.iter().map(|name| JobMeters::meter(name).expect(name).unit);
            let units: Vec<Unit> = units.collect();
            assert!(units.iter().all(|unit| *unit == units[0]) && units.len() <= COLOURS.len(), "{name}");
        }
    }
}
