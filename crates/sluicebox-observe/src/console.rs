//! Console output of a job: a progress bar and a table on a terminal, plain rows in a pipe, or one JSON
//! object per row. Rows are results and go to stdout; the bar goes to stderr.

use crate::logging::{Logs, RowFormat};
use indicatif::{ProgressBar, ProgressStyle};
use sluicebox_core::error::Result;
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::Report;
use sluicebox_core::report::pipeline::PIPELINE;
use sluicebox_core::report::progress::ProgressCounter;
use sluicebox_core::terminal::say;
use std::io::IsTerminal;
use std::sync::Arc;

/// Writes each report when it arrives.
pub struct Console {
    log: RowFormat,
    clock: Arc<ProgressCounter>,
    bar: Option<ProgressBar>,
    logs: Logs,
    headed: bool,
    /// Whether the columns of a report and of its stages fit on one line.
    wide: bool,
}

impl Console {
    /// Returns a console for this process's stdout and stderr. Its bar follows `clock` and is redrawn around
    /// lines of the log.
    pub fn new(log: RowFormat, clock: Arc<ProgressCounter>, logs: &Logs) -> Self {
        let terminal = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        let bar = (terminal && log == RowFormat::Text).then(|| {
            let bar = ProgressBar::new(1);
            let style = ProgressStyle::with_template(
                "epoch {prefix:>3} [{bar:32}] {pos}/{len} steps, {per_sec}, {eta} left",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let wide = terminal_columns().is_none_or(|columns| columns >= WIDTH);
        logs.mind(bar.clone());
        Self { log, clock, bar, logs: logs.clone(), headed: false, wide }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }
}

/// Columns of a full row; on a narrower terminal the network's accuracy and the stages go on a separate line.
const WIDTH: u16 = 154;

/// Returns the number of columns of the terminal, if stdout is one.
fn terminal_columns() -> Option<u16> {
    rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| size.ws_col)
}

/// Returns the header of the columns, abbreviated so that a row fits 80 columns: labelled and unlabelled loss,
/// teacher lag, source wait. `accuracy` is that of the answers.
fn head() -> String {
    "epoch   samples samples/s accepted precision  loss-l  loss-u accuracy lag  wait".into()
}

fn percent(value: Option<f64>, width: usize) -> String {
    match value {
        Some(value) => format!("{:>width$.1}%", 100.0 * value, width = width - 1),
        None => format!("{:>width$}", "-"),
    }
}

fn row(report: &Report) -> String {
    let job = &report.job;
    let number = |value: Option<f64>, width: usize, places: usize| match value {
        Some(value) => format!("{value:>width$.places$}"),
        None => format!("{:>width$}", "-"),
    };
    [
        format!("{:>5}", report.epoch),
        number(job.samples, 9, 0),
        number(job.samples_per_s, 9, 0),
        percent(job.accepted_fraction, 8),
        percent(job.pseudo_label_precision.or(job.ledger_precision), 9),
        number(job.labelled_loss, 7, 4),
        number(job.unlabelled_loss, 7, 4),
        percent(job.accuracy, 8),
        number(job.teacher_lag_steps, 3, 1),
        percent(job.source_wait_fraction, 5),
    ]
    .join(" ")
}

/// Returns the header of the second part: the accuracy of the network alone, and the stages' seconds.
fn stage_head() -> String {
    let names: String = PIPELINE.timed().map(|stage| format!(" {stage:>6}")).collect();
    format!("network  seconds:{names}")
}

fn stage_row(report: &Report) -> String {
    let fraction = |stage: &str| {
        let operator = report.operators.iter().find(|operator| operator.name == stage);
        operator.and_then(|operator| operator.meters.stage_fraction).unwrap_or(0.0)
    };
    let seconds = report.job.seconds.unwrap_or(0.0);
    let seconds: String =
        PIPELINE.timed().map(|stage| format!(" {:>6.2}", seconds * fraction(stage))).collect();
    format!("{}          {seconds}", percent(report.job.network_accuracy, 7))
}

impl Observer for Console {
    fn name(&self) -> String {
        "console".into()
    }

    fn notify(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            let Event::Epoch(report) = event else { continue };
            match self.log {
                RowFormat::Json => self.line(&serde_json::to_string(&**report).unwrap_or_default()),
                RowFormat::Text => {
                    let between = if self.wide { "  " } else { "\n" };
                    if !std::mem::replace(&mut self.headed, true) {
                        self.line(&[head(), stage_head()].join(between));
                    }
                    self.line(&[row(report), stage_row(report)].join(between));
                }
            }
        }
        Ok(())
    }

    fn tick(&mut self) {
        let Some(bar) = &self.bar else { return };
        let now = self.clock.read();
        if bar.prefix() != now.epoch.to_string() {
            bar.set_prefix(now.epoch.to_string());
            bar.set_length(now.of);
            bar.reset();
        }
        bar.set_position(now.done);
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.logs.mind(None);
        }
    }
}
