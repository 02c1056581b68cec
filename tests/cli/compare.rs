//! `compare` as a user meets it: table, numbers, resuming and bad input.

use crate::support::{output, sluicebox};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const VARY: &str = "method.kind=supervised,fixmatch";
/// A small digits job.
const SMALL: [&str; 14] = [
    "--set",
    "epoch.steps=20",
    "--set",
    "stop.epochs=2",
    "--set",
    "checkpoint.steps=7",
    "--set",
    "threads=1",
    "--set",
    "method.threshold=0.5",
    "--set",
    "teacher.ema=0.9",
    "--set",
    "schedule.warmup_steps=20",
];

fn arguments<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let base = ["compare", "pipelines/digits.toml", "--out", out.to_str().unwrap()];
    [&base[..], &SMALL, more].concat()
}

fn compare(out: &Path, more: &[&str]) -> (Value, String, String) {
    let (code, stdout, stderr) = output(&arguments(out, more));
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    let text = std::fs::read_to_string(out.join("compare.json")).unwrap();
    (serde_json::from_str(&text).unwrap(), stdout, stderr)
}

/// Returns the parts of a result that must not depend on interruptions: everything of each run but
/// its seconds.
fn lasting(comparison: &Value) -> Vec<Value> {
    let keys = ["samples", "passes", "accuracy", "prequential_accuracy", "epochs", "weights_sha256"];
    let of = |run: &Value| {
        let numbers = keys.iter().map(|key| run["outcome"][key].clone());
        Value::from([vec![run["variant"].clone(), run["seed"].clone()], numbers.collect()].concat())
    };
    comparison["runs"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn the_table_and_the_numbers_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (out, json) = (folder.path().join("out"), folder.path().join("numbers.json"));
    let more = ["--vary", VARY, "--seeds", "2", "--json", json.to_str().unwrap()];
    let (found, stdout, stderr) = compare(&out, &more);
    assert!(stderr.contains("run 1 of 4: supervised, seed 0"), "{stderr}");
    let also: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(found, also);

    // 2 epochs of 20 steps of 32 labelled and 128 unlabelled samples.
    assert_eq!(
        (found["equal"]["samples"].as_u64(), found["keys"][0].as_str()),
        (Some(5120), Some("method.kind"))
    );
    let runs = found["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 6, "four to the job's end, the baseline again");
    let numbers = |run: &Value, key: &str| run["outcome"][key].as_f64().unwrap();
    let of = |variant: &str, stretched: bool| {
        let mine = |run: &&Value| run["variant"] == variant && run["stretched"] == stretched;
        runs.iter().filter(mine).collect::<Vec<_>>()
    };
    assert!(of("supervised", false).iter().all(|run| numbers(run, "passes") == 1280.0));
    let most: f64 = of("fixmatch", false).iter().map(|run| numbers(run, "passes") / 2.0).sum();
    assert_eq!(found["equal"]["passes"].as_f64(), Some(most));
    for run in of("supervised", true) {
        // It makes 640 passes per epoch, so it ends at most half an epoch away from the target.
        assert!((numbers(run, "passes") - most).abs() <= 320.0, "{} against {most}", numbers(run, "passes"));
        assert_eq!(numbers(run, "passes"), 640.0 * numbers(run, "epochs"));
    }

    let row = &found["rows"][1];
    let (first, second) =
        (numbers(of("fixmatch", false)[0], "accuracy"), numbers(of("fixmatch", false)[1], "accuracy"));
    let (mean, deviation) = ((first + second) / 2.0, (first - second).abs() / 2f64.sqrt());
    let told = &row["quality_at_samples"];
    assert!((told["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert!((told["deviation"].as_f64().unwrap() - deviation).abs() < 1e-12);
    assert_eq!(row["quality_at_samples"], row["quality_at_passes"], "it is the measure");
    // Equal seconds are those of the fastest run; a run that had no evaluation by then does not count.
    let seconds = found["equal"]["seconds"].as_f64().unwrap();
    let own =
        |variant: &str| of(variant, false).into_iter().map(|run| numbers(run, "seconds")).collect::<Vec<_>>();
    let fastest = [own("supervised"), own("fixmatch")].concat().into_iter().fold(f64::INFINITY, f64::min);
    assert_eq!(seconds, fastest);
    for (row, variant) in [(0, "supervised"), (1, "fixmatch")] {
        let evaluated = |run: &&&Value| run["outcome"]["curve"][0]["seconds"].as_f64().unwrap() <= seconds;
        let count = of(variant, false).iter().filter(evaluated).count();
        let told = &found["rows"][row]["quality_at_seconds"]["count"];
        assert_eq!(told.as_u64().unwrap_or(0), count as u64, "{variant}");
    }

    let shown = format!("{:.1}±{:.1}", 100.0 * mean, 100.0 * deviation);
    let line = stdout.lines().find(|line| line.starts_with("fixmatch")).unwrap();
    assert!(line.contains(&shown), "{shown} is not in {line}");
    assert!(stdout.lines().all(|line| line.chars().count() <= 120), "{stdout}");
    let markdown = std::fs::read_to_string(out.join("compare.md")).unwrap();
    assert!(
        markdown.contains(&shown.replace('±', " ± ")) && markdown.contains("| method.kind |"),
        "{markdown}"
    );

    // Finished runs are not run again; an additional seed is.
    let (again, _, _) = compare(&out, &more);
    assert_eq!(again["runs"], found["runs"]);
    let (one, stdout, _) = compare(&out, &["--vary", VARY, "--seeds", "1,", "--equal", "samples"]);
    assert_eq!(one["runs"][0]["outcome"], found["runs"][2]["outcome"]);
    assert!(stdout.contains("equal passes were not run") && one["rows"][1]["quality_at_passes"].is_null());
}

#[test]
fn killed_in_the_middle_it_goes_on_to_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let more = ["--vary", VARY, "--seeds", "2", "--set", "precision=f32"];
    let (expected, _, _) = compare(&whole, &more);

    let mut command = sluicebox();
    command.args(arguments(&killed, &more)).stdout(Stdio::null()).stderr(Stdio::null());
    for summary in ["supervised/seed-0/summary.json", "fixmatch/seed-1/plan", "fixmatch/seed-0/summary.json"]
    {
        // The second file never exists: the process is killed after a fixed time.
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        let patience = Duration::from_secs(if summary.ends_with("plan") { 1 } else { 300 });
        while !killed.join(summary).exists() && began.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
    }
    let first = killed.join("supervised/seed-0/summary.json");
    let written = std::fs::metadata(&first).unwrap().modified().unwrap();
    let (found, _, _) = compare(&killed, &more);
    assert_eq!(lasting(&found), lasting(&expected));
    assert_eq!(std::fs::metadata(&first).unwrap().modified().unwrap(), written, "it was not run again");

    // A folder of a different job is refused.
    let (code, _, stderr) =
        output(&arguments(&killed, &[&more[..], &["--set", "batch.labelled=16"]].concat()));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("another comparison: batch.labelled is 16 now, but 32 there"), "{stderr}");
    let (code, _, stderr) = output(&arguments(&killed, &["--vary", "model.kind=convnet"]));
    assert_eq!((code, stderr.contains("it varies method.kind, not model.kind")), (2, true), "{stderr}");
    let text = std::fs::read_to_string(&first).unwrap();
    std::fs::write(&first, text.replace("\"job_sha256\": \"", "\"job_sha256\": \"0")).unwrap();
    let (code, _, stderr) = output(&arguments(&killed, &more));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("seed-0: holds a run of another job"), "{stderr}");
}

#[test]
fn a_run_that_fails_is_named_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    // A file takes the place of one run's state folder.
    std::fs::create_dir_all(&out).unwrap();
    let more = ["--vary", VARY, "--seeds", "1", "--equal", "samples"];
    compare(&out, &more);
    std::fs::remove_dir_all(out.join("supervised/seed-0")).unwrap();
    std::fs::write(out.join("supervised/seed-0"), "").unwrap();
    let (code, stdout, stderr) = output(&arguments(&out, &more));
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("supervised, seed 0 failed: ") && stderr.contains("1 of 2 runs failed"),
        "{stderr}"
    );
    assert!(stdout.contains("1 of 2 runs are missing") && stdout.contains("fixmatch"), "{stdout}");
}

#[test]
fn faults_are_told_at_once_and_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let fails = |arguments: &[&str], says: &[&str]| {
        let (code, stdout, stderr) = output(arguments);
        assert_eq!(code, 2, "{stdout}\n{stderr}");
        says.iter().for_each(|text| assert!(stderr.contains(text), "does not say `{text}`:\n{stderr}"));
        assert!(!stderr.contains("run 1 of") && !stderr.contains("panicked"), "{stderr}");
    };
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    fails(
        &arguments(
            &out,
            &[
                "--vary",
                "method.kind=supervised,fixmtach",
                "--vary",
                "batch.labeld=1",
                "--seeds",
                "0",
                "--json",
                "/no/x",
            ],
        ),
        &[
            "--vary method.kind=fixmtach: method.kind: unknown method `fixmtach`; did you mean `fixmatch`?",
            "--vary batch.labeld=1: batch.labeld: unknown key `labeld`; did you mean `labelled`?",
            "--seeds: a comparison needs at least 1 seed",
            "/no/x: cannot be written",
        ],
    );
    let twice = ["--vary", "method.threshold=0.9,0.90", "--vary", "seed=1,2", "--vary", "epoch.steps"];
    fails(
        &arguments(&out, &twice),
        &["`0.9` and `0.90` are the same job", "seeds are given by --seeds", "needs KEY=A,B"],
    );
    fails(&arguments(&out, &["--vary", "batch.labelled=8,many"]), &["--vary batch.labelled=many"]);
    fails(
        &arguments(&out, &["--vary", VARY, "--set", "stop.epochs=0"]),
        &["stop: a comparison needs jobs with an end"],
    );
    fails(&arguments(&file, &["--vary", VARY]), &["is a file, but a comparison needs a folder"]);
    fails(&arguments(folder.path(), &["--vary", VARY]), &["holds no comparison"]);
    let lines = ["compare", "pipelines/lines.toml", "--vary", VARY, "--set", "stop.epochs=1", "--out"];
    fails(&[&lines[..], &[out.to_str().unwrap()]].concat(), &["no two runs would learn from the same"]);
    assert!(!out.exists(), "nothing is left behind");
}
