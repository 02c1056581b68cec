//! Console output of a job: a row per epoch, with a progress bar and at the end the verdicts on a terminal; plain rows in
//! a pipe, or one JSON object per row. Rows are results and go to stdout; the bar goes to stderr.

mod bar;
mod columns;

use crate::logging::{Logs, RowFormat};
use crate::verdict::{Recent, TITLE_COLUMNS, Tone, Verdict};
use bar::Bar;
use columns::Columns;
use sluicebox_core::controls::Controls;
use sluicebox_core::error::Result;
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::Progress;
use sluicebox_core::report::progress::ProgressCounter;
use sluicebox_core::system::now_ms;
use sluicebox_core::terminal::{printable, say};
use std::io::IsTerminal;
use std::sync::Arc;

/// Writes each report when it arrives.
pub struct Console {
    log: RowFormat,
    clock: Arc<ProgressCounter>,
    controls: Controls,
    bar: Option<Bar>,
    logs: Logs,
    headed: bool,
    columns: Columns,
    recent: Recent,
}

impl Console {
    /// Returns a console for this process's stdout and stderr. Its bar follows `clock` up to the step `end`, where
    /// the job's end is known, and is redrawn around lines of the log.
    pub fn new(
        log: RowFormat,
        end: Option<u64>,
        clock: Arc<ProgressCounter>,
        controls: Controls,
        logs: &Logs,
    ) -> Self {
        let terminal = std::io::stderr().is_terminal() && is_for_a_person(log);
        let bar = terminal.then(|| Bar::new(end));
        logs.mind(bar.as_ref().map(|bar| bar.inner.clone()));
        let columns = Columns::within(terminal_columns());
        let recent = Recent::default();
        Self { log, clock, controls, bar, logs: logs.clone(), headed: false, columns, recent }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.inner.suspend(|| say(text)),
            None => say(text),
        }
    }
}

/// Returns whether rows in this format go to a person at a terminal.
pub fn is_for_a_person(log: RowFormat) -> bool {
    log == RowFormat::Text && std::io::stdout().is_terminal()
}

/// Returns the number of columns of the terminal, if stdout is one.
fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Writes a verdict as one line of at most `width` columns, if its answer fits.
fn told(verdict: &Verdict, width: usize) -> String {
    let room = width.saturating_sub(TITLE_COLUMNS + 4 + verdict.head.chars().count());
    let head = console::style(printable(&verdict.head));
    let head = match verdict.tone {
        Tone::Good => head.green(),
        Tone::Look => head.yellow(),
        Tone::Bad => head.red(),
        Tone::Plain | Tone::Unknown => head,
    };
    let more = verdict.more_within(room).map_or_else(String::new, |more| format!("  {}", printable(&more)));
    format!("{:TITLE_COLUMNS$}  {head}{more}", verdict.title)
}

impl Observer for Console {
    fn name(&self) -> String {
        "console".into()
    }

    fn notify(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            self.recent.add(event);
            let Event::Epoch(report) = event else { continue };
            match self.log {
                RowFormat::Json => self.line(&serde_json::to_string(&**report).unwrap_or_default()),
                RowFormat::Text => {
                    if !std::mem::replace(&mut self.headed, true) {
                        self.line(&self.columns.head());
                    }
                    self.line(&self.columns.row(report));
                }
            }
        }
        Ok(())
    }

    fn tick(&mut self) {
        let Some(bar) = &mut self.bar else { return };
        bar.show(Progress { paused: self.controls.is_paused(), ..self.clock.read() });
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.inner.finish_and_clear();
            self.logs.mind(None);
        }
        if is_for_a_person(self.log) {
            let width = terminal_columns().unwrap_or(usize::MAX);
            let mut stdout = std::io::stdout().lock();
            for verdict in self.recent.verdicts(now_ms()) {
                // The colours are ours; the rest of the line cannot steer the terminal.
                let _ =
                    std::io::Write::write_all(&mut stdout, format!("{}\n", told(&verdict, width)).as_bytes());
            }
        }
    }
}
