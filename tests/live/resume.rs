//! A job that is killed at any moment and restarted ends with the same weights.

use crate::support;
use crate::support::{output, root, sluicebox};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Arguments of a job of 120 steps with a checkpoint every 7.
fn arguments<'a>(job: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let base =
        ["run", job, "--set", "epoch.steps=40", "--set", "stop.epochs=3", "--set", "checkpoint.steps=7"];
    let fixed = ["--set", "threads=2", "--set", "precision=f32", "--set", "teacher.ema=0.9"];
    [&base[..], &fixed, more].concat()
}

fn summary(arguments: &[&str]) -> Value {
    let (code, stdout, stderr) = output(arguments);
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

/// Returns the values that must not depend on how often the job was killed.
fn lasting(summary: &Value) -> Vec<Value> {
    let keys = [
        "epochs",
        "steps",
        "samples_seen",
        "accepted_fraction",
        "pseudo_label_precision",
        "student_samples",
        "accuracy",
        "network_accuracy",
        "label_count",
        "late_labels",
        "prequential_accuracy",
        "network_prequential_accuracy",
        "weights_sha256",
    ];
    keys.map(|key| summary[key].clone()).into()
}

/// Kills the job at ten moments, then lets it finish and compares it with an undisturbed run.
fn kill_and_compare(job: &str, more: &[&str]) {
    let whole = summary(&arguments(job, more));
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let arguments = arguments(job, &[more, &["--state", state.to_str().unwrap()]].concat());
    let began = Instant::now();
    let mut kills = 0;
    let mut draw = 12345u64;
    while kills < 10 {
        draw = draw.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let mut child =
            sluicebox().args(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100 + (draw >> 33) % 600));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        kills += 1;
    }
    let resumed = summary(&arguments);
    assert_eq!(lasting(&resumed), lasting(&whole), "after {kills} kills in {:?}", began.elapsed());
}

#[test]
fn sigkill_changes_nothing_digits() {
    kill_and_compare("pipelines/digits.toml", &[]);
}

#[test]
fn sigkill_changes_nothing_where_answers_fit_a_prior() {
    kill_and_compare("pipelines/digits-ten-labels.toml", &[]);
}

#[test]
fn sigkill_changes_nothing_with_lag_and_drift() {
    kill_and_compare(
        "pipelines/digits-drift.toml",
        &["--set", "teacher.lag=3", "--set", "optimiser.kind=adamw"],
    );
}

#[test]
fn sigkill_changes_nothing_where_alarms_weigh_samples_anew() {
    let more =
        ["labels.rate=0.05", "labels.delay=300", "drift.detector=page-hinkley", "drift.threshold=0.01"];
    let mut more: Vec<&str> = more.iter().flat_map(|set| ["--set", *set]).collect();
    let job = "pipelines/digits-drift.toml";
    let told = summary(&arguments(job, &more));
    more.extend(["--set", "drift.action=reweight"]);
    kill_and_compare(job, &more);
    let weighed = summary(&arguments(job, &more));
    assert_ne!(told["weights_sha256"], weighed["weights_sha256"], "no alarm weighed anything anew");
    let otherwise = ["epoch.steps=60", "stop.epochs=2", "checkpoint.steps=50", "report.evaluate_epochs=0"];
    more.extend(otherwise.iter().flat_map(|set| ["--set", *set]));
    let looked_at_otherwise = summary(&arguments(job, &more));
    assert_eq!(looked_at_otherwise["weights_sha256"], weighed["weights_sha256"]);
}

#[test]
fn sigkill_changes_nothing_with_a_ledger_and_late_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions");
    let sink = format!("sink=[{{kind=\"predictions\",path=\"{}\"}}]", path.display());
    let labels = ["--set", "labels.rate=0.1", "--set", "labels.delay=300", "--set", "ledger.retain=2000"];
    kill_and_compare("pipelines/flexmatch.toml", &[&labels[..], &["--set", &sink]].concat());
    let text = std::fs::read_to_string(&path).unwrap();
    let mut ids: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!((text.lines().count(), ids.len()), (120 * 128, 120 * 128), "each sample once");
}

#[test]
fn sigkill_changes_nothing_csv() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    support::write_csv(&path, 7000, &[]);
    let source = format!("source.path={}", path.display());
    kill_and_compare("pipelines/insects.toml", &["--set", &source, "--set", "source.labelled_first=60"]);
}

#[test]
fn sigkill_changes_nothing_files() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["pandas.parquet", "file.arrow", "zstd-2.parquet", "missing-names.parquet", "lz4.feather"];
    let files = names.map(|name| format!("\"tests/data/columns/{name}\"")).join(", ");
    let job = folder.path().join("job.toml");
    let text = format!(
        "[source]\nkind = \"files\"\npath = [{files}]\nclasses = [\"ant\", \"bee\", \"cat\"]\n\
         labelled_per_class = 5\nshuffle_buffer = 30\nmax_bad = 0.1\ndead_letter = \"{}\"\n\
         [views]\nweak = []\nstrong = [{{ kind = \"jitter\", deviation = 0.3 }}]\n\
         [model]\nkind = \"mlp\"\n[batch]\nlabelled = 8\nunlabelled = 24\n",
        folder.path().join("bad").display()
    );
    std::fs::write(&job, text).unwrap();
    kill_and_compare(job.to_str().unwrap(), &[]);
}

#[test]
fn a_finished_job_has_nothing_to_do_and_a_longer_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let run = |epochs: &str| {
        let stop = format!("stop.epochs={epochs}");
        summary(&arguments("pipelines/digits.toml", &["--set", &stop, "--state", state]))
    };
    let first = run("2");
    let again = run("2");
    assert_eq!(lasting(&first), lasting(&again));
    assert_eq!(again["samples_per_s"], 0.0);
    let longer = run("3");
    assert_eq!(longer["steps"], 120);
    let whole = summary(&arguments("pipelines/digits.toml", &[]));
    assert_eq!(longer["weights_sha256"], whole["weights_sha256"]);
}

fn checkpoints(state: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(state).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.starts_with("step-"))
        .collect();
    names.sort();
    names
}

#[test]
fn damaged_checkpoints_are_skipped_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let arguments = arguments("pipelines/digits.toml", &["--state", state.to_str().unwrap()]);
    let whole = summary(&arguments);
    let names = checkpoints(state);
    assert_eq!(names, ["step-000000000112", "step-000000000119", "step-000000000120"]);
    let newest = state.join(&names[2]).join("state.bin");
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, &bytes).unwrap();
    std::fs::remove_file(state.join(&names[1]).join("manifest.json")).unwrap();
    let (code, stdout, stderr) = output(&arguments);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("its checksum is wrong") && stderr.contains("manifest.json"), "{stderr}");
    assert!(stderr.contains("resuming from step 112"), "{stderr}");
    let resumed: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(lasting(&resumed), lasting(&whole));
    for name in checkpoints(state) {
        std::fs::write(state.join(name).join("manifest.json"), "{").unwrap();
    }
    let (code, _, stderr) = output(&arguments);
    assert_eq!(code, 2);
    assert!(stderr.contains("every checkpoint in it is damaged"), "{stderr}");
}

#[test]
fn a_job_may_begin_to_take_labels_and_cease_to() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let takes = ["--set", "server.labels=true", "--listen", "127.0.0.1:0"];
    let mut steps = Vec::new();
    for (epochs, more) in
        [("stop.epochs=1", &takes[..0]), ("stop.epochs=2", &takes[..]), ("stop.epochs=3", &[])]
    {
        let ends = ["--state", state, "--set", epochs];
        let arguments = arguments("pipelines/digits.toml", &[&ends[..], more].concat());
        steps.push(summary(&arguments)["epochs"].as_u64().unwrap());
    }
    assert_eq!(steps, [1, 2, 3]);
}

#[test]
fn the_job_that_check_prints_resumes_the_state() {
    for rate in ["labels.rate=0", "labels.rate=0.2"] {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let state = state.to_str().unwrap();
        let whole = folder.path().join("digits.toml");
        let run = |job: &str, epochs: &str| {
            let more = ["--state", state, "--set", rate, "--set", epochs];
            summary(&arguments(job, &more))["epochs"].as_u64().unwrap()
        };
        let (code, printed, _) = output(&["check", "pipelines/digits.toml", "--set", rate]);
        assert_eq!((code, printed.contains("[memory]")), (0, true));
        std::fs::write(&whole, printed).unwrap();
        assert_eq!(run("pipelines/digits.toml", "stop.epochs=1"), 1);
        assert_eq!(run(whole.to_str().unwrap(), "stop.epochs=2"), 2);
        assert_eq!(run("pipelines/digits.toml", "stop.epochs=3"), 3);
    }
}

/// The checkpoint was written before the packages were made: by `run pipelines/digits.toml` with the settings
/// that its manifest holds.
#[test]
fn a_checkpoint_of_an_earlier_build_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let step = folder.path().join("step-000000000008");
    std::fs::create_dir(&step).unwrap();
    for entry in std::fs::read_dir(root().join("tests/data/checkpoint-6")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, step.join(path.file_name().unwrap())).unwrap();
    }
    let state = folder.path().to_str().unwrap();
    let (code, said, stderr) = output(&["eval", state]);
    assert_eq!(code, 0, "{stderr}");
    assert!(said.contains("accuracy"), "{said}");
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(step.join("manifest.json")).unwrap()).unwrap();
    assert!(manifest.get("effective").is_none());
    let job = toml::to_string(&manifest["job"]).unwrap();
    let file = folder.path().join("digits.toml");
    std::fs::write(&file, job).unwrap();
    let run = ["run", file.to_str().unwrap(), "--state", state, "--set", "stop.epochs=2"];
    let summary = summary(&run);
    assert_eq!((summary["epochs"].as_u64(), summary["steps"].as_u64()), (Some(2), Some(16)), "{summary}");
    assert!(summary["late_labels"].as_u64() > Some(43), "the ledger went on: {summary}");
}

#[test]
fn a_state_of_another_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let arguments = arguments("pipelines/digits.toml", &["--state", state.to_str().unwrap()]);
    summary(&arguments);
    let newest = state.join(checkpoints(state).pop().unwrap()).join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&newest).unwrap()).unwrap();
    manifest["version"] = 99.into();
    manifest["of_the_future"] = true.into();
    // With its own checksum, as every version has it, and without one.
    let zeros = "0".repeat(64);
    manifest["manifest_sha256"] = zeros.clone().into();
    let sum: String = Sha256::digest(manifest.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
    let with = manifest.to_string().replace(&zeros, &sum);
    manifest.as_object_mut().unwrap().remove("manifest_sha256");
    for text in [with, manifest.to_string()] {
        std::fs::write(&newest, text).unwrap();
        let (code, _, stderr) = output(&arguments);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains("its format is 99") && stderr.contains("upgrade Sluicebox"), "{stderr}");
    }
}

#[test]
fn a_job_that_the_state_cannot_follow_is_refused_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    summary(&arguments("pipelines/digits.toml", &["--state", state]));
    for (set, named) in [
        ("model.layers=[16]", "model.layers is [16] now, but was [] in the saved job"),
        ("seed=9", "seed is 9 now, but was 0"),
        ("source.labelled_per_class=5", "source.labelled_per_class"),
        ("optimiser.kind=adamw", "optimiser.kind"),
        ("method.kind=supervised", "method.kind"),
        ("teacher.lag=2", "teacher.lag"),
    ] {
        let (code, _, stderr) =
            output(&arguments("pipelines/digits.toml", &["--state", state, "--set", set]));
        assert_eq!(code, 2, "{set}");
        assert!(stderr.contains(named) && stderr.contains("--fresh"), "{stderr}");
    }
    for set in
        ["optimiser.learning_rate=0.01", "stop.epochs=4", "report.held_out=100", "method.threshold=0.9"]
    {
        let (code, _, stderr) =
            output(&arguments("pipelines/digits.toml", &["--state", state, "--set", set]));
        assert_eq!(code, 0, "{set}: {stderr}");
    }
    let fresh = arguments("pipelines/digits.toml", &["--state", state, "--fresh", "--set", "seed=9"]);
    assert_eq!(summary(&fresh)["seed"], 9);
    assert!(root().join("pipelines/digits.toml").exists());
}

#[test]
fn one_state_folder_serves_one_job_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let forever = arguments("pipelines/digits.toml", &["--state", state, "--set", "stop.epochs=0"]);
    let mut child = sluicebox().args(&forever).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while checkpoints(folder.path()).is_empty() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    let (code, _, stderr) = output(&forever);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(code, 2);
    assert!(stderr.contains("another job is running"), "{stderr}");
}

#[test]
fn a_job_that_begins_to_take_labels_learns_the_pace_from_those_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    for more in [["stop.epochs=1", "labels.rate=0"], ["stop.epochs=2", "labels.rate=0.2"]] {
        let [stop, rate] = more;
        let job = "pipelines/digits-ten-labels.toml";
        let (code, _, stderr) = output(&["run", job, "--state", state, "--set", stop, "--set", rate]);
        assert_eq!(code, 0, "{more:?}: {stderr}");
        let (code, _, stderr) = output(&["eval", state]);
        assert_eq!(code, 0, "{more:?}: {stderr}");
    }
}

#[test]
fn a_checkpoint_without_effective_settings_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let sets = ["--state", state.to_str().unwrap(), "--set", "labels.rate=0.2"];
    summary(&arguments("pipelines/digits.toml", &sets));
    let evaluated = || {
        let (code, stdout, stderr) = output(&["eval", "--json", state.to_str().unwrap()]);
        assert_eq!(code, 0, "{stderr}");
        stdout
    };
    let with = evaluated();
    let newest = state.join(checkpoints(state).pop().unwrap()).join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&newest).unwrap()).unwrap();
    let effective = manifest.as_object_mut().unwrap().remove("effective").unwrap();
    manifest.as_object_mut().unwrap().remove("manifest_sha256").unwrap(); // no such checkpoint had one
    assert_eq!((&effective["late_labels"], &effective["memory.replay"]), (&true.into(), &"recent".into()));
    std::fs::write(&newest, manifest.to_string()).unwrap();
    assert_eq!(evaluated(), with);
}

#[test]
fn the_same_command_goes_on_whatever_decimals_are_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let drift = "source.drift={ noise = 0.0039, prior = 0.3333333, rotation_degrees = 1.1 }";
    let run = |more: &[&str]| {
        let sets = [&["--state", state.to_str().unwrap(), "--set", drift][..], more].concat();
        output(&arguments("pipelines/digits-drift.toml", &sets))
    };
    let went_on = |(code, _, stderr): (i32, String, String)| {
        assert!(code == 0 && stderr.contains("resuming from step 40"), "{stderr}");
    };
    assert_eq!(run(&["--set", "stop.epochs=1"]).0, 0);
    went_on(run(&["--set", "stop.epochs=1"]));
    // Earlier versions wrote the digits of a conversion to 32 bits, and no checksum of the manifest.
    let newest = state.join(checkpoints(state).pop().unwrap()).join("manifest.json");
    let text = std::fs::read_to_string(&newest).unwrap();
    let mut earlier = text.clone();
    for (said, written) in [
        ("\"noise\": 0.0039", "\"noise\": 0.0038999998942017555"),
        ("\"prior\": 0.3333333", "\"prior\": 0.3333333134651184"),
        ("\"rotation_degrees\": 1.1", "\"rotation_degrees\": 1.100000023841858"),
        ("\"manifest_sha256\"", "\"earlier\""),
    ] {
        assert!(earlier.contains(said), "{said}: {text}");
        earlier = earlier.replacen(said, written, 1);
    }
    std::fs::write(&newest, earlier).unwrap();
    went_on(run(&["--set", "stop.epochs=1"]));
    let other = drift.replace("0.0039", "0.0038");
    let (code, _, stderr) = run(&["--set", &other]);
    assert!(code == 2 && stderr.contains("source.drift.noise is 0.0038 now, but was 0.00"), "{stderr}");
}
