//! The log as a user sees it, and as a job's observers receive it.

use crate::support::{output, sluicebox};
use serde_json::Value;
use sluicebox_core::error::Result;
use sluicebox_core::observers::{Event, Observer, Observers};
use sluicebox_observe::logging::{self, LogFilter};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const SMALL: [&str; 10] = [
    "run",
    "pipelines/digits.toml",
    "--set",
    "epoch.steps=8",
    "--set",
    "stop.epochs=1",
    "--set",
    "precision=f32",
    "--set",
    "threads=1",
];

/// Returns whether a line is `TIME LEVEL module: text`.
fn is_fact(line: &str) -> bool {
    let mut words = line.splitn(4, ' ');
    let (Some(time), Some(level), Some(module)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let levels = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
    time.len() == "2026-11-24T12:59:31.123Z".len()
        && time.ends_with('Z')
        && levels.contains(&level)
        && module.ends_with(':')
        && !module.starts_with("sluicebox")
        && words.next().is_some_and(|text| !text.is_empty())
}

#[test]
fn a_line_is_a_fact_with_time_level_and_module() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let state = ["--state", state.to_str().unwrap()];
    let (code, _, said) = output(&[&SMALL[..], &state, &["--log", "debug"]].concat());
    assert_eq!(code, 0, "{said}");
    assert!(said.lines().all(is_fact), "{said}");
    assert!(said.contains(" DEBUG checkpoint::store: written: step=8 bytes="), "{said}");
    assert!(!said.contains('\u{1b}'), "colours are for terminals: {said}");

    let again = [&SMALL[..], &state, &["--set", "stop.epochs=2"]].concat();
    let (_, rows, said) = output(&[&again[..], &["--log", "json"]].concat());
    let facts: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.lines().all(|row| serde_json::from_str::<Value>(row).is_ok()), "{rows}");
    let going = facts.iter().find(|fact| fact["text"].as_str().unwrap().starts_with("resuming from step 8"));
    let going = going.unwrap_or_else(|| panic!("{said}"));
    assert!(going["level"] == "info" && going["module"] == "run::open" && going["time"].is_string());

    let (_, _, said) = output(&[&again[..], &["--log", "warn"]].concat());
    assert_eq!(said, "");
}

#[test]
fn a_module_is_heard_alone_and_the_environment_asks_too() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut command = sluicebox();
    command.args(SMALL).args(["--state", state.to_str().unwrap()]);
    let said = command.env("SLUICEBOX_LOG", "off,checkpoint=debug").output().unwrap();
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(
        said.lines().count() > 0 && said.lines().all(|line| line.contains(" checkpoint::store: ")),
        "{said}"
    );
}

#[test]
fn a_wrong_wish_is_refused_with_the_nearest_right_one() {
    for (wish, hint) in [
        ("debgu", "did you mean `debug`?"),
        ("text,sever=debug", "did you mean `server`?"),
        ("server=loud", "unknown level `loud`"),
        ("server", "server=debug"),
    ] {
        let (code, _, said) = output(&["list", "--log", wish]);
        assert!(code == 2 && said.contains(hint), "{wish}: {said}");
    }
}

/// Passes on the lines it receives, then blocks until `held` receives.
struct Ear {
    heard: Sender<String>,
    held: Receiver<()>,
}

impl Observer for Ear {
    fn name(&self) -> String {
        "ear".into()
    }

    fn notify(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            if let Event::Line(line) = event {
                let _ = self.heard.send(format!("{} {}: {}", line.level, line.module, line.text));
            }
        }
        let _ = self.held.recv();
        Ok(())
    }
}

#[test]
fn observers_hear_each_line_and_nobody_waits_for_them() {
    let logs = logging::init(&"warn".parse::<LogFilter>().unwrap()).unwrap();
    tracing::warn!("before there are observers");
    tracing::info!("not worth a line");
    let observers = Observers::default();
    let (heard, lines) = channel();
    let (release, held) = channel();
    observers.add(Box::new(Ear { heard, held })).unwrap();
    logs.attach(&observers);
    tracing::warn!(step = 3, "with a field");
    let next = || lines.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(next(), "warn cli::logging: before there are observers");
    release.send(()).unwrap();
    assert_eq!(next(), "warn cli::logging: with a field step=3");
    // The observer is blocked and its queue is bounded; logging continues all the same.
    for line in 0..5000 {
        tracing::warn!("line {line}");
    }
    assert!(observers.dropped() > 0);
    drop(release);
    observers.end();
    assert!(lines.iter().any(|line| line == "warn cli::logging: line 0"));
}
