//! Event files, read by TensorBoard's own reader where a Python has it installed.

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

/// Script that prints the content of every tag of a folder, by TensorBoard's reader.
const READ: &str = r#"
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util
everything = dict.fromkeys(("tensors", "scalars", "images"), 0)
reader = EventAccumulator(sys.argv[1], size_guidance=everything)
reader.Reload()
def plain(tensor):
    array = tensor_util.make_ndarray(tensor)
    if array.dtype != object:
        return array.tolist()
    return [part.decode("utf-8", "replace") for part in array.reshape(-1)]
held = {
    "scalars": (reader.Scalars, lambda event: event.value),
    "tensors": (reader.Tensors, lambda event: plain(event.tensor_proto)),
    "images": (reader.Images, lambda event: [event.width, event.height, repr(event.encoded_image_string[:8])]),
}
told = {}
for kind, (events, value) in held.items():
    for tag in reader.Tags()[kind]:
        about = reader.SummaryMetadata(tag)
        points = [[event.step, event.wall_time, value(event)] for event in events(tag)]
        plugin = about.plugin_data.plugin_name
        told[tag] = {"plugin": plugin, "help": about.summary_description, "points": points}
print(json.dumps(told))
"#;

/// Returns a Python that has TensorBoard, if there is one.
fn python() -> Option<String> {
    let candidates = ["python3".to_string()].into_iter().chain(std::env::var("SLUICEBOX_PYTHON").ok());
    let has = |python: &String| {
        let probe = Command::new(python).args(["-c", "import tensorboard"]).output();
        probe.is_ok_and(|output| output.status.success())
    };
    let found = candidates.into_iter().find(has);
    if found.is_none() {
        eprintln!("skipped: no Python with tensorboard (name one in SLUICEBOX_PYTHON)");
    }
    found
}

fn read(python: &str, folder: &Path) -> Value {
    let output = Command::new(python).args(["-c", READ]).arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Creates the sink in `folder`, for a process that began at `started_ms`.
fn sink(folder: &Path, started_ms: u64) -> Box<dyn Observer> {
    let mut options = toml::Table::new();
    options.insert("path".into(), folder.to_str().unwrap().into());
    options.insert("pictures".into(), "0s".into());
    let spec = Spec { kind: "tensorboard".into(), options };
    let about = About {
        job: "digits".into(),
        toml: "[source]\nkind = \"digits\"\n".into(),
        classes: NASTY.map(str::to_string).to_vec(),
        started_ms,
        ..About::default()
    };
    match (SINKS.find("tensorboard").unwrap().build)(&spec, &about).unwrap() {
        JobSink::Epochs(observer) => observer,
        JobSink::Samples(_) => panic!("it takes reports"),
    }
}

/// Returns a report at ten steps per epoch.
fn report(epoch: u64, accuracy: f64) -> Report {
    let mut report = full(epoch, &NASTY);
    report.job.steps = Some(10.0 * epoch as f64);
    report.job.accuracy = Some(accuracy);
    report
}

fn tell(observer: &mut dyn Observer, report: Report) {
    observer.notify(&[Event::Epoch(Arc::new(report))]).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Returns the steps and values of a scalar.
fn points(told: &Value, tag: &str) -> Vec<(u64, f64)> {
    let points = told[tag]["points"].as_array().unwrap_or_else(|| panic!("{tag} in {told}"));
    points.iter().map(|point| (point[0].as_u64().unwrap(), point[2].as_f64().unwrap())).collect()
}

#[test]
fn the_real_reader_finds_scalars_pictures_and_the_job() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut sink = sink(folder.path(), 1_790_000_000_000);
    (1..=3).for_each(|epoch| tell(&mut *sink, report(epoch, 0.5)));
    let told = read(&python, folder.path());
    assert_eq!(points(&told, "quality/accuracy"), [(10, 0.5), (20, 0.5), (30, 0.5)]);
    assert_eq!(told["quality/accuracy"]["plugin"], "scalars");
    assert_eq!(told["quality/accuracy"]["help"], "Accuracy of the job's answers on held-out samples.");
    let wall_time = told["quality/accuracy"]["points"][0][1].as_f64().unwrap();
    assert_eq!(wall_time, report(1, 0.5).ended_ms as f64 / 1000.0);
    for class in NASTY.iter().filter(|class| !class.is_empty()) {
        assert_eq!(points(&told, &format!("class/accepted_fraction/{class}")).len(), 3);
    }
    assert_eq!(points(&told, "operator/busy_fraction/teach").len(), 3);
    assert_eq!(points(&told, "source/samples/csv #2").len(), 3);
    let picture = &told["confusion/held-out"];
    assert_eq!(picture["plugin"], "images");
    let shape = picture["points"][0][2].as_array().unwrap();
    assert!(shape[0] == 480 && shape[1] == 480 && shape[2].as_str().unwrap().contains("PNG"));
    let job = told["job"]["points"][0][2][0].as_str().unwrap();
    assert!(told["job"]["plugin"] == "text" && job.contains("    kind = \"digits\""), "{job}");
}

#[test]
fn epochs_done_again_after_a_crash_take_the_place_of_those_before() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut before = sink(folder.path(), 1_790_000_000_000);
    (1..=5).for_each(|epoch| tell(&mut *before, report(epoch, 0.25)));
    drop(before);
    // As if the process was killed while it wrote.
    let torn = &files(folder.path())[0];
    let length = std::fs::metadata(torn).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(torn).unwrap().set_len(length - 7).unwrap();
    let told = read(&python, folder.path());
    assert_eq!(points(&told, "quality/accuracy").len(), 4, "what is whole is read");

    let mut after = sink(folder.path(), 1_790_000_900_000);
    (3..=6).for_each(|epoch| tell(&mut *after, report(epoch, 0.5)));
    assert_eq!(files(folder.path()).len(), 2);
    let told = read(&python, folder.path());
    let then = [(10, 0.25), (20, 0.25), (30, 0.5), (40, 0.5), (50, 0.5), (60, 0.5)];
    assert_eq!(points(&told, "quality/accuracy"), then);
}

#[test]
fn a_job_writes_its_events() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs/digits");
    let set = format!("sink=[{{ kind = \"tensorboard\", path = \"{}\" }}]", path.display());
    let small = ["run", "pipelines/digits.toml", "--set", "epoch.steps=8", "--set", "stop.epochs=3"];
    let (code, _, said) =
        output(&[&small[..], &["--set", "device=cpu", "--set", "threads=1", "--set", &set]].concat());
    assert_eq!(code, 0, "{said}");
    let written = files(&path);
    assert!(written.len() == 1 && std::fs::metadata(&written[0]).unwrap().len() > 5000);
    let Some(python) = python() else { return };
    let told = read(&python, &path);
    let steps: Vec<u64> = points(&told, "throughput/samples_per_s").iter().map(|point| point.0).collect();
    assert_eq!(steps, [8, 16, 24]);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().join("events");
    let set = format!("sink=[{{ kind = \"tensorboard\", path = \"{}\" }}]", path.display());
    let (code, _, said) = output(&["run", "pipelines/digits.toml", "--set", &set]);
    assert!(code == 2 && said.contains(path.to_str().unwrap()), "{said}");
}
