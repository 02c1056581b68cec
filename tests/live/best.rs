//! The best checkpoint is kept beside the newest, and a job that no longer gets better ends.

use crate::support::{output, write_csv};
use serde_json::Value;
use std::path::Path;

/// A job that learns nothing: no evaluation is better than the first, after 10 steps.
const IDLE: [&str; 7] = [
    "model.kind=mlp",
    "optimiser.learning_rate=1e-12",
    "teacher.ema=0",
    "epoch.steps=10",
    "checkpoint.steps=7",
    "checkpoint.keep=1",
    "checkpoint.best=true",
];

fn run(state: &Path, sets: &[&str], more: &[&str]) -> (Value, String) {
    let sets = IDLE.iter().chain(sets).flat_map(|set| ["--set", *set]);
    let base = ["run", "pipelines/digits.toml", "--state", state.to_str().unwrap(), "--set", "threads=1"];
    let arguments: Vec<&str> = base.into_iter().chain(sets).chain(more.iter().copied()).collect();
    let (code, stdout, stderr) = output(&arguments);
    assert_eq!(code, 0, "{stderr}");
    (serde_json::from_str(stdout.lines().last().unwrap()).unwrap(), stderr)
}

fn checkpoints(state: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with("step-") || name.starts_with("best-")).collect();
    names.sort();
    names
}

#[test]
fn the_best_checkpoint_outlives_newer_ones_and_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let (summary, _) = run(state, &["stop.epochs=4"], &[]);
    assert_eq!((summary["best_epoch"].as_u64(), summary["stopped_early"].as_bool()), (Some(1), Some(false)));
    assert_eq!(checkpoints(state), ["best-000000000010", "step-000000000040"]);
    let path = state.to_str().unwrap();
    let (code, found, stderr) = output(&["eval", path, "--best", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let found: Value = serde_json::from_str(found.trim()).unwrap();
    let accuracies = [&found["accuracy"], &summary["best_accuracy"]].map(|share| share.as_f64().unwrap());
    assert!((accuracies[0] - accuracies[1]).abs() < 0.02, "{accuracies:?}");
    let file = state.join("best.safetensors");
    let (code, said, stderr) = output(&["export", path, "--best", "--to", file.to_str().unwrap()]);
    assert!(code == 0 && said.contains("the teacher's network after step 10"), "{said}{stderr}");
    // It goes on from there only if it is asked to, and then for good.
    let learns = ["optimiser.learning_rate=0.05", "stop.epochs=2"];
    let (_, stderr) = run(state, &["stop.epochs=5"], &[]);
    assert!(stderr.contains("resuming from step 40"), "{stderr}");
    let (summary, stderr) = run(state, &learns, &["--from-best"]);
    assert!(stderr.contains("resuming from step 10"), "{stderr}");
    assert_eq!(summary["steps"], 20);
    assert_eq!(checkpoints(state).pop().unwrap(), "step-000000000020");
    let (_, stderr) = run(state, &learns, &[]);
    assert!(stderr.contains("resuming from step 20"), "{stderr}");
    run(state, &["stop.epochs=1", "checkpoint.best=false"], &["--fresh"]);
    assert_eq!(checkpoints(state), ["step-000000000010"]);
    let (code, _, stderr) = output(&["eval", path, "--best"]);
    assert!(code == 2 && stderr.contains("checkpoint.best = true"), "{stderr}");
}

#[test]
fn a_job_that_gets_no_better_ends_at_the_same_step_also_when_it_is_resumed() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [whole, parts] = folders.each_ref().map(|folder| folder.path());
    let ends = ["stop.patience=3", "stop.epochs=50"];
    let (summary, stderr) = run(whole, &ends, &[]);
    assert!(stderr.contains("for stop.patience = 3 epochs: the job ends"), "{stderr}");
    assert_eq!(summary["stopped_early"], true);
    // flow.window = 2: one step more had been cut.
    assert_eq!((summary["epochs"].as_u64(), summary["steps"].as_u64()), (Some(4), Some(41)));
    for epochs in ["stop.epochs=2", "stop.epochs=4", "stop.epochs=50"] {
        let (part, _) = run(parts, &["stop.patience=3", epochs], &[]);
        if epochs == "stop.epochs=50" {
            let same = ["steps", "best_epoch", "best_accuracy", "weights_sha256", "stopped_early"];
            same.iter().for_each(|key| assert_eq!(part[*key], summary[*key], "{key}"));
        }
    }
    let (again, _) = run(whole, &ends, &[]);
    assert_eq!((again["steps"].as_u64(), again["stopped_early"].as_bool()), (Some(41), Some(true)));
    let (longer, _) = run(whole, &["stop.patience=5", "stop.epochs=50"], &[]);
    assert_eq!((longer["epochs"].as_u64(), longer["steps"].as_u64()), (Some(6), Some(61)));
}

#[test]
fn neither_is_of_use_without_an_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    write_csv(&path, 400, &[]);
    let source = format!("source.path={}", path.display());
    let csv = ["run", "pipelines/insects.toml", "--set", &source];
    for (set, key) in [("stop.patience=2", "stop.patience"), ("checkpoint.best=true", "checkpoint.best")] {
        let (code, _, stderr) = output(&[&csv[..], &["--set", set]].concat());
        let reason = format!("{key} needs an evaluation, but the source has no held-out samples");
        assert!(code == 2 && stderr.contains(&reason), "{code} {stderr}");
        let never = ["run", "pipelines/digits.toml", "--set", "report.evaluate_epochs=0", "--set", set];
        let (code, _, stderr) = output(&never);
        assert!(code == 2 && stderr.contains("report.evaluate_epochs is 0"), "{code} {stderr}");
    }
}
