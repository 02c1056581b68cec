//! The process's log: one line per `tracing` event, on stderr and to a job's observers. `filter` says
//! which lines are shown; this file formats and sends them.

mod filter;

pub use filter::{LogFilter, RowFormat};

use filter::module;
use humantime_serde::re::humantime;
use indicatif::ProgressBar;
use parking_lot::Mutex;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::observers::{Event, Observers};
use sluicebox_core::report::Line;
use sluicebox_core::system::now_ms;
use sluicebox_core::terminal::printable;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Most lines kept for the job's observers while the job starts.
const EARLY: usize = 64;

/// Destinations of lines besides stderr. All clones share them.
#[derive(Clone, Default)]
pub struct Logs {
    job: Arc<Mutex<Job>>,
    bar: Arc<Mutex<Option<ProgressBar>>>,
}

/// Receivers of lines besides stderr.
enum Job {
    /// Lines so far; there are no observers yet.
    Starting(Vec<Event>),
    Running(Observers),
}

impl Default for Job {
    fn default() -> Self {
        Self::Starting(Vec::new())
    }
}

/// Installs the log. Call it once per process.
pub fn init(wanted: &LogFilter) -> Result<Logs> {
    let logs = Logs::default();
    let writer = Writer { logs: logs.clone(), rows: wanted.rows };
    let listening = tracing_subscriber::registry().with(writer.with_filter(wanted.filter())).try_init();
    listening.map_err(|error| Error::Engine(format!("cannot install the log: {error}")))?;
    Ok(logs)
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logs")
    }
}

impl Logs {
    /// Sends all lines from now on to a job's observers, and first those written before.
    pub fn attach(&self, observers: &Observers) {
        let before = std::mem::replace(&mut *self.job.lock(), Job::Running(observers.clone()));
        if let Job::Starting(early) = before {
            early.iter().for_each(|event| observers.notify(event));
        }
    }

    /// Sets the progress bar on stderr that lines must not tear; none removes it.
    pub fn mind(&self, bar: Option<ProgressBar>) {
        *self.bar.lock() = bar;
    }

    /// Writes to stderr without tearing the bar.
    fn write(&self, text: &str) {
        let write = || {
            // A closed stderr is not an error.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        };
        let bar = self.bar.lock().clone();
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn notify(&self, line: Line) {
        let event = Event::Line(Arc::new(line));
        match &mut *self.job.lock() {
            Job::Starting(early) if early.len() < EARLY => early.push(event),
            Job::Running(observers) => observers.notify(&event),
            Job::Starting(_) => {}
        }
    }
}

/// Turns events into lines.
struct Writer {
    logs: Logs,
    rows: RowFormat,
}

impl<S: Subscriber> Layer<S> for Writer {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let normalized = event.normalized_metadata(); // for events of the crate `log`
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut text = Text::default();
        event.record(&mut text);
        let line = Line {
            at_ms: now_ms(),
            level: metadata.level().as_str().to_ascii_lowercase(),
            module: module(metadata.target()),
            // It may hold text of strangers.
            text: printable(&text.0).into_owned(),
        };
        self.logs.write(&match self.rows {
            RowFormat::Text => plain(&line, *metadata.level()),
            RowFormat::Json => json(&line),
        });
        self.logs.notify(line);
    }
}

/// The message of an event, followed by its fields.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let name = field.name();
        let _ = match name {
            "message" => write!(self.0, "{value:?}"),
            _ if name.starts_with("log.") => Ok(()), // origin of a record of the crate `log`
            _ => write!(self.0, " {name}={value:?}"),
        };
    }
}

fn time(line: &Line) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(line.at_ms)
}

/// Formats a line as `2026-11-24T12:59:31.123Z INFO checkpoint: going on`, in colour if stderr supports it.
fn plain(line: &Line, level: Level) -> String {
    let style = console::Style::new().for_stderr();
    let style = match level {
        Level::ERROR => style.red().bold(),
        Level::WARN => style.yellow(),
        Level::INFO => style.green(),
        _ => style.dim(),
    };
    let time = humantime::format_rfc3339_millis(time(line));
    let level = style.apply_to(line.level.to_ascii_uppercase());
    // Always one line, even if the text has line breaks.
    let text = line.text.trim_end().replace('\n', "\\n");
    format!("{time} {level} {}: {text}\n", line.module)
}

/// Formats a line as a JSON object.
fn json(line: &Line) -> String {
    #[derive(serde::Serialize)]
    struct Row<'a> {
        time: String,
        level: &'a str,
        module: &'a str,
        text: &'a str,
    }
    let Line { level, module, text, .. } = line;
    let time = humantime::format_rfc3339_millis(time(line)).to_string();
    let row = serde_json::to_string(&Row { time, level, module, text });
    row.unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line() {
        let text = "two\nlines".to_string();
        let line = Line { at_ms: 1_795_525_171_123, level: "warn".into(), module: "run".into(), text };
        let plain = console::strip_ansi_codes(&plain(&line, Level::WARN)).into_owned();
        assert_eq!(plain, "2026-11-24T12:59:31.123Z WARN run: two\\nlines\n");
        let json = json(&line);
        assert_eq!(json.lines().count(), 1);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["text"], "two\nlines");
        assert_eq!(json["time"], "2026-11-24T12:59:31.123Z");
    }
}
