//! Samples from a pipe, end to end.

use crate::support;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};

/// Returns a line whose largest number gives its class, one of three.
fn line(at: usize, more: &str) -> String {
    let values: Vec<String> = (0..5)
        .map(|feature| format!("{}.{}", if feature == at % 3 { 2 } else { 0 }, (at * 7 + feature) % 5))
        .collect();
    format!("{{\"values\": [{}]{more}}}\n", values.join(","))
}

fn start(state: &Path, sets: &[&str]) -> Child {
    let mut command = support::sluicebox();
    command.args(["run", "pipelines/lines.toml", "--state", state.to_str().unwrap()]);
    for set in ["device=cpu", "precision=f32", "threads=1", "batch.unlabelled=50", "epoch.steps=1"]
        .iter()
        .chain(sets)
    {
        command.args(["--set", set]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Feeds a run to its end: returns exit code, stdout and stderr.
fn run(state: &Path, sets: &[&str], text: &str) -> (i32, String, String) {
    let mut child = start(state, sets);
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes()); // a run that failed stops reading
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn summary(result: &(i32, String, String)) -> Value {
    assert_eq!(result.0, 0, "{result:?}");
    serde_json::from_str(result.1.lines().last().unwrap()).unwrap()
}

fn letters(state: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(state.join("dead-letter.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_program_feeds_a_job_and_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut text: String = (0..30).map(|at| line(at, &format!(", \"label\": {}", at % 3))).collect();
    text += "garbage\n";
    text += &(30..500).map(|at| line(at, &format!(", \"id\": {at}"))).collect::<String>();
    text += &line(501, ", \"id\": 31"); // other values under a known id
    text += &line(32, ", \"id\": 32"); // the same sample again
    text += &line(500, ", \"label\": \"cow\"");
    let result = run(folder.path(), &[], &text);
    let summary = summary(&result);
    assert_eq!((&summary["samples_seen"], &summary["label_count"]), (&500.into(), &30.into()), "{result:?}");
    let letters = letters(folder.path());
    let told: Vec<(u64, &str)> =
        letters.iter().map(|l| (l["line"].as_u64().unwrap(), l["reason"].as_str().unwrap())).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(letters[0]["record"] == "garbage" && told[0].0 == 31);
    let says = |line: u64, text: &str| told.iter().any(|(at, reason)| *at == line && reason.contains(text));
    assert!(says(502, "id 31 was used before") && says(504, "unknown class `cow`"), "{told:?}");
}

#[test]
fn a_dead_letter_file_that_cannot_be_written_ends_the_job_that_waits_for_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (state, not_a_file) = (folder.path().join("state"), folder.path().join("letters"));
    std::fs::create_dir(&not_a_file).unwrap();
    let dead_letter = |path: &Path| format!("source.dead_letter={}", path.display());
    let mut child = start(&state, &[&dead_letter(&not_a_file)]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{}garbage\n", line(0, ", \"label\": 0")).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap(); // the program that feeds it goes on
    drop(stdin);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let file = not_a_file.display().to_string();
    assert!(said.contains(&format!("{file}: cannot keep a bad record")), "{said}");
    let text: String = (0..150).map(|at| line(at, ", \"label\": 1")).collect();
    let file = folder.path().join("file");
    assert_eq!(run(&state, &[&dead_letter(&file)], &format!("{text}garbage\n")).0, 0, "the next run goes on");
    assert!(file.is_file());
}

#[test]
fn rows_with_a_header() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("id,a,b,c,d,e,label\n");
    for at in 0..120 {
        let class = if at < 40 { ["ant", "bee", "fly"][at % 3] } else { "" };
        text += &format!("{at},{},{},{},0.5,{}.25,{class}\n", at % 3, (at + 1) % 3, (at + 2) % 3, at % 7);
    }
    let summary = summary(&run(folder.path(), &["source.format=csv"], &text));
    assert_eq!((&summary["samples_seen"], &summary["label_count"]), (&120.into(), &40.into()));
}

#[test]
fn too_many_bad_lines_end_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, error) = run(folder.path(), &["source.max_bad=0.1"], &"garbage\n".repeat(1000));
    assert!(code != 0 && error.contains("more than source.max_bad = 0.1 allows"), "{error}");
    let good = run(folder.path(), &["source.max_bad=1"], &"garbage\n".repeat(10));
    assert_eq!(summary(&good)["samples_seen"], 0);
}

#[test]
fn what_was_read_outlives_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path(), &[]);
    let mut pipe = child.stdin.take().unwrap();
    let text: String = (0..50).map(|at| line(at, "")).collect();
    pipe.write_all(text.as_bytes()).unwrap();
    // The pipe stays open: the job does not wait for its end.
    let rows = BufReader::new(child.stdout.take().unwrap());
    let row = rows.lines().map_while(Result::ok).find(|row| row.split_whitespace().nth(1) == Some("50"));
    assert!(row.is_some(), "the samples are learned from while the program goes on");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(pipe);
    let more: String = (50..75).map(|at| line(at, "")).collect();
    assert_eq!(summary(&run(folder.path(), &[], &more))["samples_seen"], 75);
}

#[test]
fn records_by_name_feed_a_job() {
    let folder = tempfile::tempdir().unwrap();
    let sets = [
        "source.features=[\"f1\",\"f2\",\"ok\"]",
        "source.shape=[3]",
        "source.class_column=kind",
        "source.ignore=[\"when\"]",
        "source.classes=[\"ant\",\"bee\",\"cat\"]",
        "source.max_bad=0.2",
        "batch.unlabelled=20",
    ];
    let text = std::fs::read_to_string(support::root().join("tests/data/json/records.jsonl")).unwrap();
    let result = run(folder.path(), &sets, &text);
    let summary = summary(&result);
    assert_eq!((&summary["samples_seen"], &summary["label_count"]), (&59.into(), &58.into()), "{result:?}");
    let letters = letters(folder.path());
    assert_eq!(letters.len(), 1);
    assert!(letters[0]["reason"].as_str().unwrap().contains("the value of `f2` is missing"), "{letters:?}");
}
