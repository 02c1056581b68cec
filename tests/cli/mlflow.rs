//! Runs in MLflow's file layout, read by MLflow itself where a Python has it installed, else as the layout says.

use crate::reports::{NASTY, full};
use crate::support::output;
use serde_json::Value;
use sluicebox::job::sinks::{JobSink, SINKS};
use sluicebox_core::config::registry::Spec;
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::{About, Report};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Script that prints what MLflow reads of every run in a folder.
const READ: &str = r#"
import json, os, sys
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri="file://" + sys.argv[1])
told = []
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id]):
        history = lambda name: [[float(m.step), float(m.value), float(m.timestamp)] for m in client.get_metric_history(run.info.run_id, name)]
        told.append({
            "experiment": experiment.name, "name": run.info.run_name, "status": run.info.status,
            "params": run.data.params, "tags": run.data.tags,
            "metrics": {name: history(name) for name in run.data.metrics},
        })
print(json.dumps(told))
"#;

fn python() -> Option<String> {
    let candidates = ["python3".to_string()].into_iter().chain(std::env::var("SLUICEBOX_PYTHON").ok());
    let has = |python: &String| {
        let probe = Command::new(python).args(["-c", "import mlflow"]).output();
        probe.is_ok_and(|output| output.status.success())
    };
    candidates.into_iter().find(has)
}

/// Reads a folder by the layout: what the script tells, without MLflow.
fn by_layout(folder: &Path) -> Value {
    let text = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    let key = |meta: &str, key: &str| {
        let value = meta.lines().find_map(|line| line.strip_prefix(&format!("{key}: "))).unwrap().to_string();
        serde_json::from_str::<String>(&value).unwrap_or(value)
    };
    let mut told = Vec::new();
    for experiment in files(folder) {
        let name = key(&text(experiment.join("meta.yaml")), "name");
        for run in files(&experiment).into_iter().filter(|path| path.is_dir()) {
            let meta = text(run.join("meta.yaml"));
            let texts = |part: &str| -> Value {
                let named = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_string();
                files(&run.join(part))
                    .into_iter()
                    .map(|path| (named(&path), Value::from(text(path))))
                    .collect()
            };
            let mut metrics = serde_json::Map::new();
            for path in files(&run.join("metrics")).iter().flat_map(|group| files(group)) {
                let name = path.strip_prefix(run.join("metrics")).unwrap().to_str().unwrap().to_string();
                let value = |line: &str| {
                    let [at, value, step] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
                    let number = |text: &str| text.parse::<f64>().unwrap();
                    serde_json::json!([number(step), number(value), number(at)])
                };
                metrics.insert(name, text(path).lines().map(value).collect());
            }
            let status =
                ["", "RUNNING", "", "FINISHED", "FAILED"][key(&meta, "status").parse::<usize>().unwrap()];
            told.push(serde_json::json!({
                "experiment": name, "name": key(&meta, "run_name"), "status": status,
                "params": texts("params"), "tags": texts("tags"), "metrics": metrics,
            }));
        }
    }
    told.into()
}

/// Reads a folder in every way that is possible here; all must tell the same.
fn read(folder: &Path) -> Value {
    let told = by_layout(folder);
    let Some(python) = python() else {
        eprintln!("no Python with mlflow (name one in SLUICEBOX_PYTHON): read by the layout only");
        return told;
    };
    let output = Command::new(python).args(["-c", READ]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let by_mlflow: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(by_mlflow.as_array().unwrap().len(), told.as_array().unwrap().len());
    for (one, two) in by_mlflow.as_array().unwrap().iter().zip(told.as_array().unwrap()) {
        for part in ["experiment", "name", "status", "params", "metrics"] {
            assert_eq!(one[part], two[part], "{part}");
        }
    }
    told
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| !path.ends_with(".trash")); // MLflow makes it
    files.sort();
    files
}

fn sink(folder: &Path, started_ms: u64, state: Option<&str>) -> Box<dyn Observer> {
    let mut options = toml::Table::new();
    options.insert("path".into(), folder.to_str().unwrap().into());
    let spec = Spec { kind: "mlflow".into(), options };
    let about = About {
        job: "digits: \"a\" # b".into(),
        toml: "seed = 3\n[source]\nkind = \"digits\"\n[optimiser]\nlearning_rate = 0.03\n".into(),
        started_ms,
        state: state.map(String::from),
        ..About::default()
    };
    match (SINKS.find("mlflow").unwrap().build)(&spec, &about).unwrap() {
        JobSink::Epochs(observer) => observer,
        JobSink::Samples(_) => panic!("it takes reports"),
    }
}

fn tell(observer: &mut dyn Observer, epoch: u64, accuracy: f64) {
    let mut report: Report = full(epoch, &NASTY);
    report.job.steps = Some(10.0 * epoch as f64);
    report.job.accuracy = Some(accuracy);
    observer.notify(&[Event::Epoch(Arc::new(report))]).unwrap();
}

#[test]
fn mlflow_reads_numbers_keys_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = sink(folder.path(), 1_790_000_000_000, None);
    assert_eq!(read(folder.path())[0]["status"], "RUNNING");
    (1..=3).for_each(|epoch| tell(&mut *run, epoch, 0.25 * epoch as f64));
    drop(run);
    let told = read(folder.path());
    let told = &told.as_array().unwrap()[..];
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["experiment"], &told[0]["status"]),
        (&"digits: \"a\" # b".into(), &"FINISHED".into())
    );
    let params = &told[0]["params"];
    assert_eq!((&params["optimiser.learning_rate"], &params["seed"]), (&"0.03".into(), &"3".into()));
    let points = told[0]["metrics"]["quality/accuracy"].as_array().unwrap();
    let points: Vec<(u64, f64)> =
        points.iter().map(|point| (point[0].as_f64().unwrap() as u64, point[1].as_f64().unwrap())).collect();
    assert_eq!(points, [(10, 0.25), (20, 0.5), (30, 0.75)]);
}

#[test]
fn a_job_that_goes_on_has_one_run_in_which_no_epoch_is_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = sink(folder.path(), 1_790_000_000_000, Some("state"));
    (1..=4).for_each(|epoch| tell(&mut *run, epoch, 0.25));
    std::mem::forget(run); // killed
    let mut run = sink(folder.path(), 1_790_000_900_000, Some("state"));
    (3..=5).for_each(|epoch| tell(&mut *run, epoch, 0.5));
    drop(run);
    // Another job of the same name, without a state folder.
    drop(sink(folder.path(), 1_790_000_900_000, None));
    let told = read(folder.path());
    let runs = told.as_array().unwrap();
    assert_eq!(runs.len(), 2, "{told}");
    let one = runs.iter().find(|run| run["metrics"]["quality/accuracy"].is_array()).unwrap();
    let steps: Vec<(u64, f64)> = one["metrics"]["quality/accuracy"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| (point[0].as_f64().unwrap() as u64, point[1].as_f64().unwrap()))
        .collect();
    assert_eq!(steps, [(10, 0.25), (20, 0.25), (30, 0.5), (40, 0.5), (50, 0.5)]);
}

#[test]
fn a_job_writes_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlruns");
    let set = format!("sink=[{{ kind = \"mlflow\", path = \"{}\", run = \"mine\" }}]", path.display());
    let small = ["run", "pipelines/digits.toml", "--set", "epoch.steps=8", "--set", "stop.epochs=3"];
    let (code, _, said) =
        output(&[&small[..], &["--set", "device=cpu", "--set", "threads=1", "--set", &set]].concat());
    assert_eq!(code, 0, "{said}");
    let told = read(&path);
    assert_eq!((&told[0]["name"], &told[0]["status"]), (&"mine".into(), &"FINISHED".into()));
    let rates = told[0]["metrics"]["throughput/samples_per_s"].as_array().unwrap();
    let steps: Vec<u64> = rates.iter().map(|point| point[0].as_f64().unwrap() as u64).collect();
    assert_eq!(steps, [8, 16, 24]);
    assert_eq!(told[0]["params"]["epoch.steps"], "8");
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().join("mlruns");
    let set = format!("sink=[{{ kind = \"mlflow\", path = \"{}\" }}]", path.display());
    let (code, _, said) = output(&["run", "pipelines/digits.toml", "--set", &set]);
    assert!(code == 2 && said.contains(path.to_str().unwrap()), "{said}");
}
