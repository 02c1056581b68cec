//! Data of a chart: one line per meter, from points of the history.

use crate::history::Point;
use sluicebox_core::report::{Mark, MarkKind, Meter, Meters, Unit};

/// Meters with a known interval, and the meters of its ends.
const INTERVALS: [(&str, [&str; 2]); 1] =
    [("ledger_precision", ["ledger_precision_low", "ledger_precision_high"])];

/// A point of a line, with its interval or the range of values within its epochs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dot {
    /// Middle of its epochs.
    pub epoch: f64,
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// A line of a chart.
#[derive(Debug)]
pub(super) struct Curve {
    pub meter: &'static Meter,
    /// Points with a known value.
    pub dots: Vec<Dot>,
}

/// A chart. All its meters have the same unit.
#[derive(Debug)]
pub(super) struct Chart {
    pub title: String,
    pub unit: Unit,
    pub curves: Vec<Curve>,
    /// What happened to the job, each with its epoch.
    pub marks: Vec<(f64, MarkKind)>,
}

impl Chart {
    /// Creates a chart of those `meters` that have values.
    pub fn new(title: &str, meters: &[&'static Meter], points: &[Point], marks: &[Mark]) -> Self {
        let title = title.chars().filter(|c| !c.is_control()).collect();
        let unit = meters.first().map_or(Unit::Plain, |meter| meter.unit);
        let curves = meters.iter().map(|meter| Curve { meter, dots: dots(meter, points) });
        let marks = marks.iter().map(|mark| (mark.epoch as f64, mark.kind)).collect();
        Self { title, unit, marks, curves: curves.filter(|curve| !curve.dots.is_empty()).collect() }
    }

    /// Returns whether no meter has values.
    pub fn is_empty(&self) -> bool {
        self.curves.is_empty()
    }

    /// Returns whether `meter` has values.
    pub fn has(&self, meter: &Meter) -> bool {
        self.curves.iter().any(|curve| curve.meter == meter)
    }

    /// Returns the kinds of its marks that lie within its epochs.
    pub fn kinds(&self) -> Vec<MarkKind> {
        let (first, last) = self.epochs();
        let within =
            |kind| move |(epoch, of): &(f64, MarkKind)| *of == kind && (first..=last).contains(epoch);
        MarkKind::EVERY.into_iter().filter(|kind| self.marks.iter().any(within(*kind))).collect()
    }

    /// Returns the range of epochs on the x axis; never empty.
    pub fn epochs(&self) -> (f64, f64) {
        let (first, last) = self.extent(|dot| [dot.epoch, dot.epoch]);
        if first < last { (first, last) } else { (first - 1.0, last + 1.0) }
    }

    /// Returns the range of values on the y axis; never empty. Fractions get the range in use;
    /// other units include 0.
    pub fn values(&self) -> (f64, f64) {
        let (low, high) = self.extent(|dot| [dot.low, dot.high]);
        if self.unit == Unit::Share {
            let room = ((high - low) * 0.08).max(0.005);
            // Statistics may go beyond 1.
            return ((low - room).max(low.min(0.0)), (high + room).min(high.max(1.0)));
        }
        let (low, high) = (low.min(0.0), high.max(0.0));
        if low < high { (low * 1.05, high * 1.05) } else { (0.0, 1.0) }
    }

    fn extent(&self, of: impl Fn(&Dot) -> [f64; 2]) -> (f64, f64) {
        let values = self.curves.iter().flat_map(|curve| curve.dots.iter().flat_map(&of));
        values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    }
}

fn dots(meter: &Meter, points: &[Point]) -> Vec<Dot> {
    let interval = INTERVALS.iter().find(|(name, _)| *name == meter.name);
    let [low, high] = interval.map_or([meter.name; 2], |(_, ends)| *ends);
    let dot = |point: &Point| {
        let mean = point.mean.value(meter.name)?;
        Some(Dot {
            epoch: (point.first_epoch + point.last_epoch) as f64 / 2.0,
            mean,
            low: point.low.value(low).unwrap_or(mean),
            high: point.high.value(high).unwrap_or(mean),
        })
    };
    points.iter().filter_map(dot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::report::JobMeters;

    #[test]
    fn the_meters_of_intervals_are_there() {
        for name in INTERVALS.iter().flat_map(|(name, ends)| [name, ends[0], ends[1]]) {
            assert!(JobMeters::meter(name).is_some(), "{name}");
        }
    }

    #[test]
    fn axes_are_never_empty() {
        let meter = JobMeters::meter("accuracy").unwrap();
        for accuracy in [0.0, 0.5, 1.0] {
            let mean = JobMeters { accuracy: Some(accuracy), ..JobMeters::default() };
            let point = Point { first_epoch: 3, last_epoch: 3, mean, ..Point::default() };
            let chart = Chart::new("one\u{1}", &[meter], &[point], &[]);
            assert_eq!(chart.title, "one");
            assert_eq!(chart.epochs(), (2.0, 4.0));
            let (low, high) = chart.values();
            assert!(0.0 <= low && low < high && high <= 1.0, "{low} {high}");
        }
    }
}
