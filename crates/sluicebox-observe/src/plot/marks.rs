//! Marks of a chart: a line at the epoch in which something happened; for a checkpoint, a tick at the bottom.

use crate::plot::chart::Chart;
use plotters::prelude::*;
use sluicebox_core::report::MarkKind;

/// Colours of marks, other than those of lines, and their names in the page.
pub(super) const DRIFT: RGBColor = RGBColor(160, 104, 0);
pub(super) const BAD: RGBColor = RGBColor(178, 34, 52);
pub(super) const RESTART: RGBColor = RGBColor(96, 72, 168);
pub(super) const CHECKPOINT: RGBColor = RGBColor(132, 140, 150);
/// Part of the height that a checkpoint's tick takes.
const TICK: f64 = 0.04;
/// Number of marks from which their lines are faint.
const MANY: usize = 30;

/// Returns the colour of a kind.
pub(super) fn color(kind: MarkKind) -> RGBColor {
    match kind {
        MarkKind::Drift => DRIFT,
        MarkKind::Gate | MarkKind::Alarm | MarkKind::Failure => BAD,
        MarkKind::Restart => RESTART,
        MarkKind::Checkpoint => CHECKPOINT,
    }
}

/// Returns the lines of a chart's marks between the values `low` and `high`, each with its colour.
pub(super) fn lines(chart: &Chart, (low, high): (f64, f64)) -> Vec<([(f64, f64); 2], RGBAColor)> {
    let (first, last) = chart.epochs();
    let within = chart.marks.iter().filter(|(epoch, _)| (first..=last).contains(epoch));
    let count = within.clone().filter(|(_, kind)| *kind != MarkKind::Checkpoint).count();
    let opacity = if count > MANY { 0.35 } else { 1.0 };
    let line = |(epoch, kind): &(f64, MarkKind)| {
        let top = if *kind == MarkKind::Checkpoint { low + TICK * (high - low) } else { high };
        ([(*epoch, low), (*epoch, top)], color(*kind).mix(opacity))
    };
    within.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Point;
    use sluicebox_core::report::{JobMeters, Mark, Meters};

    #[test]
    fn marks_within_the_epochs_are_drawn_and_checkpoints_are_ticks() {
        let meter = JobMeters::meter("accuracy").unwrap();
        let point = |epoch: u64| {
            let mean = JobMeters { accuracy: Some(0.5), ..JobMeters::default() };
            Point { first_epoch: epoch, last_epoch: epoch, mean, ..Point::default() }
        };
        let mark = |epoch, kind| Mark { epoch, kind, ..Mark::default() };
        let marks = [mark(3, MarkKind::Drift), mark(4, MarkKind::Checkpoint), mark(99, MarkKind::Failure)];
        let chart = Chart::new("a", &[meter], &[point(1), point(9)], &marks);
        assert_eq!(chart.kinds(), [MarkKind::Drift, MarkKind::Checkpoint]);
        let drawn = lines(&chart, (0.0, 1.0));
        assert_eq!(drawn[0].0, [(3.0, 0.0), (3.0, 1.0)]);
        assert_eq!(drawn[1].0, [(4.0, 0.0), (4.0, TICK)]);
        assert_eq!(drawn.len(), 2);
    }
}
