//! The invariants of ARCHITECTURE.md that a text search can check.

#![allow(missing_docs)]
mod support;

use sluicebox_core::report::pipeline::PIPELINE;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// Returns the lines of code, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// Returns whether a line names a crate: `tch::`, but not `batch::`.
fn names(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

fn in_flow(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "flow")
}

#[test]
fn only_flow_imports_timely_and_flow_never_imports_tch() {
    for (path, text) in sources(&support::root().join("src")) {
        let uses = |name: &str| code(&text).any(|line| names(line, name));
        assert!(in_flow(&path) || !(uses("timely") || uses("differential_dataflow")), "{}", path.display());
        assert!(!in_flow(&path) || !uses("tch"), "{}", path.display());
    }
}

#[test]
fn truth_is_revealed_to_reports_and_simulated_labels_only() {
    for (path, text) in sources(&support::root().join("src")) {
        let reveals = code(text.split("#[cfg(test)]").next().unwrap()).any(|line| line.contains(".reveal()"));
        let places = [
            "outcomes.rs",
            "source/late.rs",
            "source/scenario/mod.rs",
            "source/blind.rs",
            "metrics/evaluator.rs",
        ];
        let may = places.iter().any(|place| path.ends_with(place));
        assert!(!reveals || may, "{}", path.display());
    }
}

#[test]
fn the_dataflow_is_one_screen_and_files_are_short() {
    let all = sources(&support::root().join("src"));
    for (path, text) in &all {
        let body = text.split("#[cfg(test)]").next().unwrap();
        assert!(body.lines().count() <= 460, "{} has {} lines", path.display(), body.lines().count());
        assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
    }
    let (_, flow) = all.iter().find(|(path, _)| path.ends_with("flow/mod.rs")).unwrap();
    let build = flow.split("fn build(").nth(1).unwrap().split("\n}\n").next().unwrap();
    assert!(build.lines().count() <= 40);
}

#[test]
fn nothing_reads_the_environment_or_unwraps() {
    let mut all = sources(&support::root().join("src"));
    all.retain(|(path, _)| !path.ends_with("tests.rs")); // unit tests in their own file
    for (path, text) in all {
        let body = text.split("#[cfg(test)]").next().unwrap();
        for line in code(body) {
            assert!(!line.contains("env::var"), "{}: {line}", path.display());
            assert!(!line.contains(".unwrap()"), "{}: {line}", path.display());
        }
    }
}

#[test]
fn architecture_is_short_and_names_what_is_there() {
    let text = std::fs::read_to_string(support::root().join("ARCHITECTURE.md")).unwrap();
    assert!(text.lines().count() <= 150);
    for (path, _) in sources(&support::root().join("src")) {
        let relative = path.strip_prefix(support::root().join("src")).unwrap();
        let top = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let name = top.trim_end_matches(".rs");
        assert!(text.contains(&format!("`{name}")), "ARCHITECTURE.md does not name {name}");
    }
}

#[test]
fn drawings_of_the_pipeline_name_its_stages() {
    let stages = PIPELINE.stages.iter().map(|stage| stage.name);
    let stages: Vec<&str> = stages.filter(|name| *name != "ledger").collect();
    for file in ["ARCHITECTURE.md", "README.md", "src/lib.rs", "src/engine/flow/mod.rs"] {
        let text = std::fs::read_to_string(support::root().join(file)).unwrap();
        let line = text.lines().find(|line| line.contains("source ─► batch")).unwrap();
        let drawn: Vec<&str> = line.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
        assert_eq!(drawn, stages, "{file}");
    }
}
