//! `--log`: which lines of the log are shown, and in which format.

use sluicebox_core::config::document::unknown;
use std::str::FromStr;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Format of reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RowFormat {
    /// A table, with a progress bar on a terminal.
    #[default]
    Text,
    /// One JSON object per epoch.
    Json,
}

/// Prefix of the `tracing` targets of all packages of Sluicebox.
const PREFIX: &str = "sluicebox";

/// Modules whose level `--log` can set: the name that a user writes, and the `tracing` targets that it covers.
/// A line of the log names its module by the first of the most exact rows.
const MODULES: [(&str, &[&str]); 35] = [
    ("access", &["sluicebox_stream::auth"]),
    ("checkpoint", &["sluicebox::engine::checkpoint"]),
    ("cluster", &["sluicebox::cluster"]),
    ("commands", &["sluicebox::commands", "sluicebox_client::commands"]),
    ("compare", &["sluicebox::compare"]),
    ("decode", &["sluicebox_stream::decode"]),
    ("device", &["sluicebox_learn::device"]),
    ("drift", &["sluicebox::engine::drift"]),
    ("endpoints", &["sluicebox::serve::endpoints"]),
    ("engine", &["sluicebox::engine"]),
    ("feed", &["sluicebox_client::feed"]),
    ("feeder", &["sluicebox_client::feed"]),
    ("flow", &["sluicebox::engine::flow"]),
    ("history", &["sluicebox_observe::history"]),
    ("ingest", &["sluicebox_stream::ingest"]),
    ("intake", &["sluicebox_stream::ingest"]),
    ("job", &["sluicebox::job"]),
    ("live", &["sluicebox::serve::endpoints"]),
    ("log", &["sluicebox_stream::wal"]),
    ("metrics", &["sluicebox::engine::metrics", "sluicebox::engine::drift"]),
    ("microbatch", &["sluicebox_stream::microbatch"]),
    ("observers", &["sluicebox_core::observers"]),
    ("run", &["sluicebox::run"]),
    ("serve", &["sluicebox::serve"]),
    ("server", &["sluicebox::serve::http"]),
    ("sink", &["sluicebox_stream::sink", "sluicebox_observe::sink"]),
    ("source", &["sluicebox_stream::source"]),
    ("wal", &["sluicebox_stream::wal"]),
    ("watch", &["sluicebox_client::watch"]),
    ("fjall", &["fjall"]),
    ("hyper", &["hyper"]),
    ("librdkafka", &["librdkafka"]),
    ("rdkafka", &["rdkafka"]),
    ("rustls", &["rustls"]),
    ("ureq", &["ureq"]),
];

/// Returns the module of a `tracing` target as a user writes it, such as `source::tcp`; for other targets of
/// Sluicebox their path without the package.
pub fn module(target: &str) -> String {
    let mut found: Option<(&str, &str)> = None;
    for (name, prefixes) in MODULES {
        for prefix in prefixes {
            let rest = target.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with("::"));
            if let Some(rest) = rest.filter(|rest| found.is_none_or(|(_, least)| rest.len() < least.len())) {
                found = Some((name, rest));
            }
        }
    }
    match found {
        Some((name, rest)) => format!("{name}{rest}"),
        None if target.starts_with(PREFIX) => target.split_once("::").map_or(target, |(_, path)| path).into(),
        None => target.into(),
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Parsed `--log`: `[text|json][,LEVEL][,MODULE=LEVEL]…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter {
    /// Format of epoch reports and log lines.
    pub rows: RowFormat,
    /// Most verbose level logged for this program.
    level: LevelFilter,
    /// Most verbose level for single modules and libraries.
    modules: Vec<(String, LevelFilter)>,
}

impl Default for LogFilter {
    fn default() -> Self {
        Self { rows: RowFormat::Text, level: LevelFilter::INFO, modules: Vec::new() }
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match (word, word.split_once('=')) {
                (_, Some((module, level))) => {
                    let level = self::level(level)?;
                    wanted.modules.extend(targets(module)?.into_iter().map(|target| (target, level)));
                }
                ("text", _) => wanted.rows = RowFormat::Text,
                ("json", _) => wanted.rows = RowFormat::Json,
                (level, _) if LEVELS.contains(&level) => wanted.level = self::level(level)?,
                (module, _) if targets(module).is_ok() => {
                    return Err(format!("`{module}` needs a level, such as {module}=debug"));
                }
                (other, _) => {
                    let known: Vec<&str> = ["text", "json"].into_iter().chain(LEVELS).collect();
                    return Err(format!("{}, or MODULE=LEVEL", unknown("word", other, &known)));
                }
            }
        }
        Ok(wanted)
    }
}

fn level(name: &str) -> Result<LevelFilter, String> {
    match LEVELS.contains(&name) {
        true => name.parse().map_err(|_| unknown("level", name, &LEVELS)),
        false => Err(unknown("level", name, &LEVELS)),
    }
}

/// Returns the `tracing` targets of the module that the user calls `module`, such as `source` or
/// `source::tcp`.
fn targets(module: &str) -> Result<Vec<String>, String> {
    let first = module.split("::").next().unwrap_or(module);
    match MODULES.iter().find(|(name, _)| *name == first) {
        Some((_, targets)) => Ok(targets.iter().map(|target| module.replacen(first, target, 1)).collect()),
        None => Err(unknown("module", module, &MODULES.map(|(name, _)| name))),
    }
}

impl LogFilter {
    /// Returns the filter of `tracing` events.
    pub fn filter(&self) -> Targets {
        let others = LevelFilter::WARN.min(self.level);
        let all = Targets::new().with_default(others).with_target(PREFIX, self.level);
        all.with_targets(self.modules.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    fn wanted(text: &str) -> Result<LogFilter, String> {
        text.parse()
    }

    #[test]
    fn nothing_asked_for_is_text_and_info() {
        let default = wanted("text,info").unwrap();
        assert_eq!(default, LogFilter::default());
        assert_eq!(wanted("").unwrap(), default);
        assert_eq!(wanted("json").unwrap(), LogFilter { rows: RowFormat::Json, ..default.clone() });
        assert_eq!(wanted(" debug ").unwrap(), LogFilter { level: LevelFilter::DEBUG, ..default });
    }

    #[test]
    fn a_line_names_its_module_as_a_user_writes_it() {
        assert_eq!(module("sluicebox_stream::source::tcp::connection"), "source::tcp::connection");
        assert_eq!(module("sluicebox::serve::http::guard"), "server::guard");
        assert_eq!(module("sluicebox::run"), "run");
        assert_eq!(module("sluicebox::runner::x"), "runner::x");
        assert_eq!(module("hyper::proto"), "hyper::proto");
        assert_eq!(module("other::part"), "other::part");
    }

    #[test]
    fn modules_have_levels_of_their_own() {
        let filter = wanted("json,warn,server=trace,hyper=info,source::tcp=off").unwrap().filter();
        let hears = |target: &str, level| filter.would_enable(target, &level);
        assert!(hears("sluicebox::serve::http::guard", Level::TRACE));
        assert!(hears("sluicebox::engine::checkpoint", Level::WARN));
        assert!(!hears("sluicebox::engine::checkpoint", Level::INFO));
        assert!(hears("hyper::proto", Level::INFO));
        assert!(!hears("sluicebox_stream::source::tcp", Level::ERROR));
        assert!(hears("sluicebox_stream::source::kafka", Level::WARN));
        assert!(hears("rustls", Level::WARN) && !hears("rustls", Level::INFO));
    }

    #[test]
    fn others_are_no_louder_than_what_is_asked_for() {
        let filter = wanted("off").unwrap().filter();
        assert!(!filter.would_enable("rustls", &Level::ERROR));
        assert!(!filter.would_enable("sluicebox::run", &Level::ERROR));
    }

    #[test]
    fn a_wrong_word_is_named_with_the_nearest() {
        assert!(wanted("debgu").unwrap_err().contains("did you mean `debug`?"));
        assert!(wanted("jsno").unwrap_err().contains("did you mean `json`?"));
        assert!(wanted("sever=debug").unwrap_err().contains("did you mean `server`?"));
        assert!(wanted("server=lots").unwrap_err().contains("unknown level `lots`"));
        assert!(wanted("server").unwrap_err().contains("server=debug"));
    }
}
