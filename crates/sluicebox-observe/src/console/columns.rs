//! The columns of an epoch's row. Where a terminal is too narrow for all, those that say least are left out: first the
//! seconds of the stages, last the epoch.

use sluicebox_core::report::Report;
use sluicebox_core::report::pipeline::PIPELINE;

/// A column: its head, its width, and its place among those that are left out (the greatest first).
struct Column {
    head: &'static str,
    width: usize,
    spare: u8,
    of: fn(&Report) -> String,
}

/// The columns before the seconds of the stages. `accuracy` is that of the answers.
const COLUMNS: [Column; 11] = [
    Column { head: "epoch", width: 5, spare: 0, of: |report| report.epoch.to_string() },
    Column { head: "samples", width: 9, spare: 5, of: |report| number(report.job.samples, 0) },
    Column { head: "samples/s", width: 9, spare: 1, of: |report| number(report.job.samples_per_s, 0) },
    Column { head: "accepted", width: 8, spare: 4, of: |report| percent(report.job.accepted_fraction) },
    Column {
        head: "precision",
        width: 9,
        spare: 3,
        of: |report| percent(report.job.pseudo_label_precision.or(report.job.ledger_precision)),
    },
    Column { head: "loss-l", width: 7, spare: 8, of: |report| number(report.job.labelled_loss, 4) },
    Column { head: "loss-u", width: 7, spare: 9, of: |report| number(report.job.unlabelled_loss, 4) },
    Column { head: "accuracy", width: 8, spare: 2, of: |report| percent(report.job.accuracy) },
    Column { head: "lag", width: 3, spare: 10, of: |report| number(report.job.teacher_lag_steps, 1) },
    Column { head: "wait", width: 5, spare: 7, of: |report| percent(report.job.source_wait_fraction) },
    Column { head: "network", width: 8, spare: 6, of: |report| percent(report.job.network_accuracy) },
];

/// Columns of a stage's seconds, and of their head.
const SECONDS: (usize, &str) = (7, "  seconds:");

/// The columns that are shown.
pub struct Columns {
    shown: Vec<&'static Column>,
    /// Whether the seconds of the stages are shown.
    seconds: bool,
}

impl Columns {
    /// Returns those that fit into `width` columns; all of them where the width is not limited.
    pub fn within(width: Option<usize>) -> Self {
        let mut shown: Vec<&Column> = COLUMNS.iter().collect();
        let used = |shown: &[&Column]| shown.iter().map(|column| column.width + 1).sum::<usize>() - 1;
        let stages = SECONDS.1.len() + SECONDS.0 * PIPELINE.timed().count();
        let seconds = width.is_none_or(|width| used(&shown) + stages <= width);
        while let Some(width) = width
            && used(&shown) > width
            && shown.len() > 1
        {
            let Some(least) = shown.iter().map(|column| column.spare).max() else { break };
            shown.retain(|column| column.spare != least);
        }
        Self { shown, seconds }
    }

    /// Returns the header.
    pub fn head(&self) -> String {
        let mut head = self.line(|column| column.head.into());
        if self.seconds {
            head += SECONDS.1;
            PIPELINE.timed().for_each(|stage| head += &format!(" {stage:>6}"));
        }
        head
    }

    /// Returns the row of a report.
    pub fn row(&self, report: &Report) -> String {
        let mut row = self.line(|column| (column.of)(report));
        if self.seconds {
            row += &" ".repeat(SECONDS.1.len());
            PIPELINE.timed().for_each(|stage| row += &format!(" {:>6.2}", seconds(report, stage)));
        }
        row
    }

    fn line(&self, text: impl Fn(&Column) -> String) -> String {
        let cells = self.shown.iter().map(|column| format!("{:>width$}", text(column), width = column.width));
        cells.collect::<Vec<_>>().join(" ")
    }
}

fn seconds(report: &Report, stage: &str) -> f64 {
    let operator = report.operators.iter().find(|operator| operator.name == stage);
    let fraction = operator.and_then(|operator| operator.meters.stage_fraction).unwrap_or(0.0);
    report.job.seconds.unwrap_or(0.0) * fraction
}

fn number(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.places$}"))
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{:.1}%", 100.0 * value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_never_wider_than_the_terminal() {
        for width in 5..200 {
            let columns = Columns::within(Some(width));
            let (head, row) = (columns.head(), columns.row(&Report::default()));
            assert_eq!(head.len(), row.len(), "{head}");
            assert!(head.len() <= width, "{width}: {head}");
            assert!(head.starts_with("epoch"));
        }
    }

    #[test]
    fn the_seconds_of_stages_go_first() {
        let head = |width| Columns::within(width).head();
        assert!(head(None).contains("network  seconds: source"));
        assert_eq!(
            head(Some(120)),
            "epoch   samples samples/s accepted precision  loss-l  loss-u accuracy lag  wait  network"
        );
        assert_eq!(
            head(Some(80)),
            "epoch   samples samples/s accepted precision  loss-l accuracy  wait  network"
        );
        assert_eq!(head(Some(40)), "epoch samples/s precision accuracy");
    }
}
