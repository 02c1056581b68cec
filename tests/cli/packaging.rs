//! What comes with the command: containers, services and dashboards name what is there.

use crate::support::{output, root};
use std::collections::BTreeSet;

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the options of a command that a text gives it, and those that the command has.
fn options(command: &str, text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let words = |text: &str| {
        let options = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'));
        options.filter(|word| word.starts_with("--")).map(String::from).collect()
    };
    (words(text), words(&output(&[command, "--help"]).1))
}

#[test]
fn services_and_containers_give_options_that_the_command_has() {
    let unit = text("packaging/systemd/sluicebox@.service");
    let start = unit.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
    let compose = text("packaging/docker/compose.yaml");
    let command = compose.split("command: >-").nth(1).unwrap().split("ports:").next().unwrap();
    for given in [start, command] {
        let (given, known) = options("run", given);
        assert!(given.len() > 1 && given.is_subset(&known), "{given:?} {known:?}");
    }
    let version = text("packaging/docker/Dockerfile");
    assert!(version.contains("torch==2.11.0") && text("scripts/setup").contains("want=2.11.0"));
    assert!(text("python/sluicebox/launch.py").contains("TORCH = \"2.11.0\""));
}

#[test]
fn files_that_are_mounted_are_there() {
    let compose = text("packaging/docker/compose.yaml");
    let mounted = compose.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split_once(":/"));
    let files: Vec<&str> = mounted.map(|(file, _)| file).filter(|file| file.starts_with('.')).collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        assert!(root().join("packaging/docker").join(file).is_file(), "{file}");
    }
    assert!(text("packaging/docker/Dockerfile").contains("/usr/share/sluicebox/pipelines"));
}

#[test]
fn one_version_is_told_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(text("python/pyproject.toml").contains(&format!("version = \"{version}\"")));
    assert!(text("CITATION.cff").contains(&format!("version: {version}")));
}
