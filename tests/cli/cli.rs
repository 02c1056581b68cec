//! The command line as a user meets it: output and exit codes.

use crate::support::{output, root, sluicebox, write_csv, write_idx};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

const SMALL: [&str; 6] = ["--set", "epoch.steps=5", "--set", "stop.epochs=2", "--set", "precision=f32"];

fn run(job: &str, more: &[&str]) -> (i32, String, String) {
    output(&[&["run", job], &SMALL[..], more].concat())
}

fn fails(arguments: &[&str], code: i32, says: &[&str]) {
    let (found, stdout, stderr) = output(arguments);
    assert_eq!(found, code, "{arguments:?}\n{stdout}\n{stderr}");
    for text in says {
        assert!(stderr.contains(text), "{arguments:?} does not say `{text}`:\n{stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn every_pipeline_passes_check() {
    for entry in std::fs::read_dir(root().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        let (code, stdout, stderr) = output(&["check", path.to_str().unwrap()]);
        assert_eq!(code, 0, "{}: {stderr}", path.display());
        assert!(stdout.contains("[source]") && stdout.contains("threshold"));
    }
}

#[test]
fn check_prints_what_follows_from_late_labels() {
    for (set, can, replay) in [("labels.rate=0", "cannot", "uniform"), ("labels.rate=0.1", "can", "recent")] {
        let (code, stdout, stderr) = output(&["check", "pipelines/digits.toml", "--set", set]);
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.contains(&format!("replay = \"{replay}\"")), "{stdout}");
        assert!(stdout.contains(&format!("# Labels {can} come late in this job")), "{stdout}");
        assert_eq!(stdout.contains("retain = 100000"), can == "can", "{stdout}");
        assert_eq!(stdout.contains("[filter.gate]"), can == "can", "{stdout}");
    }
}

#[test]
fn check_tells_of_a_fetch_that_does_not_fit_into_the_window() {
    let check = |device: &str, window: &str, ledger: &str| {
        let device = format!("device={device}");
        let set = ["check", "pipelines/digits.toml", "--set", &device, "--set", "report.fetch_steps=16"];
        output(&[&set[..], &["--set", window, "--set", ledger]].concat())
    };
    let (ledger, none) = ("ledger.retain=1000", "labels.rate=0");
    let (code, _, stderr) = check("cuda:0", "flow.window=16", ledger);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("report.fetch_steps = 16 needs flow.window = 17 or more"), "{stderr}");
    for (device, window, ledger, told) in [
        ("auto", "flow.window=16", ledger, true),
        ("auto", "flow.window=17", ledger, false),
        ("auto", "flow.window=16", none, false),
        ("cpu", "flow.window=16", ledger, false),
        ("cuda:0", "flow.window=17", ledger, false),
    ] {
        let (code, stdout, stderr) = check(device, window, ledger);
        assert_eq!(code, 0, "{stderr}");
        let says = stdout.contains("# Where there is a GPU the job is refused")
            && stdout.contains("needs flow.window = 17");
        assert_eq!(says, told, "{device} {window} {ledger}: {stdout}");
    }
}

#[test]
fn all_faults_of_a_job_are_told_at_once_with_line_key_and_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    let text = r#"sed = 1
device = "tpu"
[source]
kind = "digit"
[batch]
unlabelled = 0
labeld = 3
[views]
weak = [{ kind = "afine" }, { kind = "cutout", size = 2.0 }]
[method]
kind = "fixmatch"
treshold = 0.9
threshold = 1.5
[epoch]
steps = "many"
[schedule]
kind = "cosine"
"#;
    std::fs::write(&path, text).unwrap();
    let says = [
        "bad.toml:1: sed: unknown key `sed`; did you mean `seed`?",
        "bad.toml:2: device: unknown device `tpu` (known: auto, cpu, cuda, cuda:0",
        "bad.toml:4: source.kind: unknown source `digit`; did you mean `digits`?",
        "bad.toml:6: batch.unlabelled: 0 is too few",
        "bad.toml:7: batch.labeld: unknown key `labeld`; did you mean `labelled`?",
        "bad.toml:9: views.weak[0].kind: unknown augmentation `afine`; did you mean `affine`?",
        "bad.toml:9: views.weak[1].size: 2 must be from 0 to 1",
        "bad.toml:12: method.treshold: unknown key `treshold`; did you mean `threshold`?",
        "bad.toml:13: method.threshold: 1.5 must be from 0 to 1",
        "bad.toml:15: epoch.steps: invalid type: string",
        "bad.toml:17: schedule.kind: \"cosine\" needs an end",
    ];
    for command in ["check", "run"] {
        fails(&[command, path.to_str().unwrap()], 2, &says);
    }
}

#[test]
fn what_is_set_on_the_command_line_is_named_when_it_is_wrong() {
    let check = |set| ["check", "pipelines/digits.toml", "--set", set];
    fails(&check("method.threshold=1.5"), 2, &["--set method.threshold=1.5: method.threshold: 1.5"]);
    fails(&check("batch"), 2, &["--set needs key=value"]);
    fails(&check("batch.unlabelled=0"), 2, &["batch.unlabelled: 0 is too few"]);
    fails(&check("workers=0"), 2, &["workers: 0: must be 1 to 64, or \"auto\""]);
    fails(&check("workers=65"), 2, &["workers: 65: must be 1 to 64, or \"auto\""]);
    let few = "batch.labelled: 32 is too few for 17 workers: each needs 2 of a step's samples";
    fails(&check("workers=17"), 2, &[few]);
    fails(&["check", "no-such.toml"], 2, &["no-such.toml: cannot read the job"]);
    let (code, stdout, _) = output(&check("method.kind=supervised"));
    assert_eq!(code, 0);
    assert!(stdout.contains("kind = \"supervised\"") && !stdout.contains("threshold = 0.95"));
}

#[test]
fn list_shows_every_row() {
    let (code, stdout, _) = output(&["list"]);
    assert_eq!(code, 0);
    for name in
        ["digits", "idx", "csv", "flip-crop", "mask", "convnet", "mlp", "supervised", "fixmatch", "jsonl"]
    {
        assert!(stdout.contains(name), "{name}");
    }
}

#[test]
fn the_summary_has_exactly_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.json");
    let (code, stdout, stderr) = run("pipelines/digits.toml", &["--summary", path.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(written, serde_json::from_str::<Value>(stdout.lines().last().unwrap()).unwrap());
    let mut keys: Vec<&str> = written.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = vec![
        "job",
        "method",
        "device",
        "workers",
        "seed",
        "epochs",
        "steps",
        "samples_seen",
        "samples_per_s",
        "seconds",
        "accepted_fraction",
        "pseudo_label_precision",
        "student_samples",
        "accuracy",
        "network_accuracy",
        "label_count",
        "late_labels",
        "prequential_accuracy",
        "network_prequential_accuracy",
        "checkpoints",
        "peak_rss_mib",
        "phase_accuracy",
        "precision",
        "threads",
        "weights_sha256",
        "near_future_accuracy",
        "near_future_shift",
        "average_anytime_accuracy",
        "forgetting",
        "backward_transfer",
        "min_accuracy",
        "worst_case_accuracy",
        "recovery_steps",
        "student_passes_per_sample",
        "skipped_updates",
        "unfit_samples",
        "filter_alarms",
        "class_alarms",
        "best_accuracy",
        "best_epoch",
        "stopped_early",
    ];
    keys.sort();
    expected.sort();
    assert_eq!(keys, expected);
    assert_eq!((&written["steps"], &written["samples_seen"]), (&10.into(), &1280.into()));
}

#[test]
fn a_reader_that_goes_away_and_a_summary_that_cannot_be_written() {
    let command = format!("{} list | head -n 1", env!("CARGO_BIN_EXE_sluicebox"));
    let piped = std::process::Command::new("bash").args(["-o", "pipefail", "-c", &command]).output().unwrap();
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
    let arguments = ["run", "pipelines/digits.toml", "--summary", "/no/such/folder/summary.json"];
    fails(&arguments, 2, &["/no/such/folder/summary.json: cannot write the summary"]);
}

#[test]
fn reports_are_rows_or_json_and_sinks_get_them_too() {
    let folder = tempfile::tempdir().unwrap();
    let sink = folder.path().join("epochs.jsonl");
    let set = format!("sink=[{{ kind = \"jsonl\", path = \"{}\" }}]", sink.display());
    let (_, stdout, _) = run("pipelines/digits.toml", &["--log", "json", "--set", &set]);
    let rows: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[1]["epoch"], &rows[1]["samples"]), (&2.into(), &1280.into()));
    let operators = rows[0]["operators"].as_array().unwrap();
    let learn = operators.iter().find(|operator| operator["name"] == "learn").unwrap();
    assert!(learn["stage_fraction"].as_f64().unwrap() > 0.0);
    let written = std::fs::read_to_string(&sink).unwrap();
    assert_eq!(written.lines().collect::<Vec<_>>(), stdout.lines().take(2).collect::<Vec<_>>());
    let (_, stdout, _) = run("pipelines/digits.toml", &[]);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("epoch") && !stdout.contains('\x1b'));
}

#[test]
fn ctrl_c_finishes_the_step_and_keeps_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let forever = [
        "run",
        "pipelines/digits.toml",
        "--set",
        "stop.epochs=0",
        "--set",
        "epoch.steps=5",
        "--state",
        state,
    ];
    let mut child = sluicebox().args(forever).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.by_ref().take(3).for_each(|line| assert!(!line.unwrap().is_empty()));
    let signal = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    let last = lines.map(Result::unwrap).last().unwrap();
    assert!(child.wait().unwrap().success());
    let summary: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(summary["checkpoints"], 1);
    let steps = summary["steps"].as_u64().unwrap();
    let (code, _, stderr) = output(&[
        "run",
        "pipelines/digits.toml",
        "--set",
        "stop.epochs=1",
        "--set",
        "epoch.steps=5",
        "--state",
        state,
    ]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains(&format!("resuming from step {steps}")), "{stderr}");
}

#[test]
fn devices_that_are_not_there_are_refused() {
    let device = |name| ["run", "pipelines/digits.toml", "--set", name];
    fails(&device("device=tpu"), 2, &["unknown device `tpu`"]);
    if !std::path::Path::new("/dev/nvidiactl").exists() {
        fails(&device("device=cuda:0"), 2, &["cuda:0", "device = \"cpu\""]);
    }
}

#[test]
fn state_folders_that_cannot_serve_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let state = |path: &str| output(&["run", "pipelines/digits.toml", "--state", path]);
    let (code, _, stderr) = state(file.to_str().unwrap());
    assert!(code == 2 && stderr.contains("is a file, but --state needs a folder"), "{stderr}");
    let (code, _, stderr) = state("/proc/no-state-here");
    assert!(code == 2 && stderr.contains("cannot write to the state folder"), "{stderr}");
    fails(&["eval", folder.path().to_str().unwrap()], 2, &["there is no checkpoint in it"]);
    fails(&["export", "/no/such/state", "--to", "/tmp/x.pt"], 2, &["/no/such/state"]);
}

#[test]
fn a_full_disk_ends_the_job_and_spares_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let path = folder.path().to_str().unwrap();
        std::process::Command::new("mount")
            .args(arguments)
            .arg(path)
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=1500k", "none"]) {
        eprintln!("skipped: mounting a small file system is not allowed here");
        return;
    }
    let state = folder.path().join("state");
    let state = state.to_str().unwrap();
    let (code, _, stderr) = run("pipelines/digits.toml", &["--state", state]);
    assert_eq!(code, 0, "{stderr}");
    // Room for the history's next rows, and none for a checkpoint.
    let free =
        std::process::Command::new("df").args(["--output=avail", "-B1"]).arg(folder.path()).output().unwrap();
    let free: usize = String::from_utf8(free.stdout).unwrap().lines().last().unwrap().trim().parse().unwrap();
    std::fs::write(folder.path().join("filler"), vec![0; free - 120_000]).unwrap();
    let (code, _, stderr) = run("pipelines/digits.toml", &["--state", state, "--set", "stop.epochs=4"]);
    let (_, again, _) = output(&["eval", state, "--json"]);
    std::process::Command::new("umount").arg(folder.path()).status().unwrap();
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("operator \"commit\" failed") && stderr.contains("cannot write a checkpoint"),
        "{stderr}"
    );
    assert!(again.contains("\"samples\":397"), "the last checkpoint is gone: {again}");
}

#[test]
fn idx_files_that_are_wrong_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("source.path={}", folder.path().display());
    let arguments = |more: &'static str| {
        let small = ["--set", "source.labelled_per_class=2", "--set", "batch.unlabelled=20", "--set", more];
        [vec!["run", "pipelines/fashion.toml", "--set", &path], small.to_vec()].concat()
    };
    fails(&arguments("seed=0"), 2, &["train-images-idx3-ubyte: no such file", "--set source.path="]);
    let images = folder.path().join("train-images-idx3-ubyte");
    let pixels: Vec<u8> = (0..100 * 28 * 28).map(|i| (i % 251) as u8).collect();
    let classes: Vec<u8> = (0..100).map(|i| i % 10).collect();
    write_idx(&images, &[100, 28, 28], &pixels);
    write_idx(&folder.path().join("train-labels-idx1-ubyte"), &[100], &classes);
    write_idx(&folder.path().join("t10k-images-idx3-ubyte"), &[100, 28, 28], &pixels);
    write_idx(&folder.path().join("t10k-labels-idx1-ubyte"), &[100], &classes);
    fails(&arguments("source.classes=9"), 2, &["label 9 of item 9 is outside the 9 classes"]);
    let (code, _, stderr) = output(&[arguments("epoch.steps=2"), vec!["--set", "stop.epochs=1"]].concat());
    assert_eq!(code, 0, "{stderr}");
    write_idx(&images, &[100, 28, 28], &pixels[..60 * 28 * 28]);
    let (code, _, stderr) =
        output(&[arguments("epoch.steps=9"), vec!["--set", "source.shuffle_buffer=50"]].concat());
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("operator \"source\" failed") && stderr.contains("truncated: item 60 of the 100"),
        "{stderr}"
    );
    std::fs::write(&images, [0, 0, 13, 3]).unwrap();
    fails(&arguments("seed=0"), 2, &["too short for an IDX header"]);
    std::fs::write(&images, [1; 64]).unwrap();
    fails(&arguments("seed=0"), 2, &["wrong magic number"]);
}

#[test]
fn bad_rows_go_to_the_dead_letter_file_until_they_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows.csv");
    let letters = folder.path().join("dead.jsonl");
    let bad = ["1,2,3,ant", "1,2,x,4,5,ant", "1,2,3,4,5,wasp", "1,2,3,4,inf,bee"];
    write_csv(&rows, 2000, &bad);
    let set = |key: &str, value: &str| format!("source.{key}={value}");
    let (path, dead) = (set("path", rows.to_str().unwrap()), set("dead_letter", letters.to_str().unwrap()));
    let classes = "source.classes=[\"ant\", \"bee\", \"fly\"]";
    let arguments = [
        "run",
        "pipelines/insects.toml",
        "--set",
        &path,
        "--set",
        &dead,
        "--set",
        classes,
        "--set",
        "source.labelled_first=60",
        "--set",
        "teacher.ema=0.5",
        "--set",
        "optimiser.learning_rate=0.01",
        "--log",
        "json",
    ];
    let (code, stdout, stderr) = output(&[&arguments[..], &["--set", "source.max_bad=0.05"]].concat());
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("bad records go to"), "{stderr}");
    let rows: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows[0]["dead_letters"], 4);
    assert_eq!(rows.last().unwrap()["samples_seen"], 1940, "every good row that is not labelled");
    assert!(rows.last().unwrap()["prequential_accuracy"].as_f64().unwrap() > 0.9);
    let letters: Vec<Value> = std::fs::read_to_string(&letters)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let reasons: Vec<&str> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert_eq!(
        reasons,
        [
            "4 columns instead of 6",
            "`x` in column 2 `c` is not a finite number; if it is a category, name the column in source.categorical",
            "unknown class `wasp` (known: ant, bee, fly)",
            "`inf` in column 4 `e` is not a finite number"
        ]
    );
    assert_eq!((&letters[0]["line"], &letters[0]["record"]), (&102.into(), &"1,2,3,ant".into()));
    fails(&arguments, 1, &["operator \"source\" failed", "source.max_bad = 0.01"]);
}

#[test]
fn eval_answers_as_the_job_does() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let late = ["--state", state, "--set", "labels.rate=0.2", "--set", "labels.delay=10"];
    let (code, stdout, stderr) = run("pipelines/digits.toml", &late);
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let eval = |sets: &[&str]| -> Value {
        let (code, stdout, stderr) = output(&[&["eval", state, "--json"], sets].concat());
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str(&stdout).unwrap()
    };
    let found = eval(&[]);
    assert_eq!(found["accuracy"], summary["accuracy"]);
    let network = eval(&["--set", "answer.prior=none", "--set", "answer.blend=false"]);
    assert_ne!(found["calibration_error"], network["calibration_error"]);
    assert_eq!([&found, &summary].map(|of| &of["network_accuracy"]), [&network["accuracy"]; 2]);
    assert_eq!(network["accuracy"], network["network_accuracy"]);
}

#[test]
fn eval_tells_accuracy_classes_confusion_and_calibration() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let (code, stdout, stderr) = run("pipelines/digits.toml", &["--state", state]);
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let (code, stdout, stderr) = output(&["eval", state, "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(found["accuracy"], summary["accuracy"]);
    let cells = found["confusion"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
    assert_eq!(cells.map(|cell| cell.as_u64().unwrap()).sum::<u64>(), 397);
    assert!(found["calibration_error"].as_f64().unwrap() > 0.0);
    let (code, stdout, _) = output(&["eval", state, "--limit", "50"]);
    assert!(code == 0 && stdout.contains("calibration error") && stdout.contains("50"), "{stdout}");
    fails(&["eval", state, "--source", "idx", "--set", "source.path=/nowhere"], 2, &["/nowhere"]);
}
