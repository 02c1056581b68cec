//! How a job looks from outside: a bar and a table on a terminal, plain rows in a pipe, or one
//! JSON object a row. Rows are results and go to stdout; the bar goes to stderr.

use crate::data::STAGES;
use crate::error::Result;
use crate::metrics::{EpochReport, Watcher};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};

/// How reports are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Log {
    /// A table, with a progress bar where there is a terminal.
    #[default]
    Text,
    /// One JSON object an epoch.
    Json,
}

/// Writes reports as they come.
pub struct Console {
    log: Log,
    bar: Option<ProgressBar>,
    headed: bool,
    /// Rows go on one line.
    wide: bool,
}

impl Console {
    /// A console for this process's stdout and stderr.
    pub fn new(log: Log) -> Self {
        let terminal = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        let bar = (terminal && log == Log::Text).then(|| {
            let bar = ProgressBar::new(1);
            let style = ProgressStyle::with_template(
                "epoch {prefix:>3} [{bar:32}] {pos}/{len} steps, {per_sec}, {eta} left",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let wide = terminal_columns().is_none_or(|columns| columns >= WIDTH);
        Self { log, bar, headed: false, wide }
    }

    fn line(&self, text: &str) {
        let write = || {
            // A reader that has gone away is no failure of the job.
            let mut stdout = std::io::stdout().lock();
            let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// Columns of a whole row; a narrower terminal gets the stages on a line of their own.
const WIDTH: u16 = 152;

/// The terminal's columns, if stdout is one.
fn terminal_columns() -> Option<u16> {
    rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| size.ws_col)
}

fn head() -> String {
    "epoch   samples samples/s accepted precision  loss-l  loss-u accuracy lag  wait".into()
}

fn row(report: &EpochReport) -> String {
    let percent = |value: Option<f64>, width: usize| match value {
        Some(value) => format!("{:>width$.1}%", 100.0 * value, width = width - 1),
        None => format!("{:>width$}", "-"),
    };
    format!(
        "{:>5} {:>9} {:>9.0} {} {} {:>7.4} {:>7.4} {} {:>3.1} {}",
        report.epoch,
        report.samples,
        report.samples_per_s,
        percent(Some(report.accepted_fraction), 8),
        percent(report.pseudo_label_precision, 9),
        report.labelled_loss,
        report.unlabelled_loss,
        percent(report.accuracy, 8),
        report.teacher_lag_steps,
        percent(Some(report.source_wait_fraction), 5),
    )
}

/// The names of the stages over their seconds.
fn stage_head() -> String {
    format!("seconds:{}", STAGES.map(|stage| format!(" {stage:>6}")).concat())
}

fn stage_row(report: &EpochReport) -> String {
    let seconds = STAGES.map(|stage| format!(" {:>6.2}", report.stage_seconds[stage])).concat();
    format!("        {seconds}")
}

impl Watcher for Console {
    fn step(&mut self, epoch: u64, done: u64, of: u64) {
        if let Some(bar) = &self.bar {
            if bar.prefix() != epoch.to_string() {
                bar.set_prefix(epoch.to_string());
                bar.set_length(of);
                bar.reset();
            }
            bar.set_position(done);
        }
    }

    fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        match self.log {
            Log::Json => self.line(&serde_json::to_string(report).unwrap_or_default()),
            Log::Text => {
                let between = if self.wide { "  " } else { "\n" };
                if !std::mem::replace(&mut self.headed, true) {
                    self.line(&[head(), stage_head()].join(between));
                }
                self.line(&[row(report), stage_row(report)].join(between));
            }
        }
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
