//! A job on the device that is killed and resumed, and one that is asked while it trains.

use crate::running::{On, command, output, wait};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SHORT: [&str; 6] = [
    "epoch.steps=6",
    "batch.labelled=8",
    "batch.unlabelled=24",
    "teacher.ema=0.5",
    "report.held_out=50",
    "checkpoint.steps=4",
];

/// A job with a ledger, late labels and a sink, on the device.
fn job(state: &Path) -> Option<Command> {
    let sink = format!("sink=[{{kind=\"predictions\",path=\"{}\"}}]", state.join("predictions").display());
    let more = ["stop.epochs=6", "labels.rate=0.3", "labels.delay=20", &sink];
    let mut command = command(On::Device, "pipelines/flexmatch.toml", &[&SHORT[..], &more].concat())?;
    command.arg("--state").arg(state).args(["--log", "json"]);
    Some(command)
}

/// Runs a job to its end and returns its summary.
fn finished(command: Command, folder: &Path) -> Value {
    let (code, stdout, stderr) = output(command, folder);
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

#[test]
fn a_killed_job_ends_as_one_that_was_not() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(undisturbed) = job(whole.path()) else { return };
    let undisturbed = finished(undisturbed, whole.path());
    // After the first, the second and the third report.
    for reports in 1..=3 {
        let mut child =
            job(killed.path()).unwrap().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.filter(|line| line.contains("\"epoch\"")).nth(reports - 1).is_some() || reports > 1);
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
    }
    let resumed = finished(job(killed.path()).unwrap(), killed.path());
    for key in ["steps", "samples_seen", "accuracy", "late_labels", "prequential_accuracy", "weights_sha256"]
    {
        assert_eq!(resumed[key], undisturbed[key], "{key}");
    }
    let ids = |folder: &Path| {
        let text = std::fs::read_to_string(folder.join("predictions")).unwrap();
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap();
        let mut ids: Vec<u64> = text.lines().map(id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(killed.path()).len(), 36 * 24);
    assert_eq!(ids(killed.path()), ids(whole.path()));
}

#[test]
fn a_job_is_asked_while_it_trains() {
    let sets = [&SHORT[..], &["stop.epochs=0", "server.listen=127.0.0.1:0"]].concat();
    let Some(mut command) = command(On::Device, "pipelines/digits.toml", &sets) else { return };
    command.args(["--log", "json"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let url = lines.by_ref().find_map(|line| {
        let line: Value = serde_json::from_str(&line).ok()?;
        Some(line["text"].as_str()?.strip_prefix("listening at ")?.to_string())
    });
    let url = url.expect("the job listens");
    let rest = std::thread::spawn(move || lines.collect::<Vec<String>>());

    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(60)));
    let agent: ureq::Agent = config.http_status_as_error(false).build().into();
    let body = format!("[{}]\n", vec!["3"; 64].join(",")).repeat(5);
    let began = Instant::now();
    let mut answers = Vec::new();
    while answers.len() < 5 {
        assert!(began.elapsed() < Duration::from_secs(120), "no answer");
        let request = agent.post(format!("{url}/predict?probabilities=1"));
        let mut answer = request.content_type("application/x-ndjson").send(&body).unwrap();
        match answer.status().as_u16() {
            200 => answers.push(answer.body_mut().read_json::<Value>().unwrap()),
            503 => std::thread::sleep(Duration::from_millis(20)), // before the first step
            other => panic!("{other}: {:?}", answer.body_mut().read_to_string()),
        }
    }
    for answer in &answers {
        let predictions = answer["predictions"].as_array().unwrap();
        assert_eq!(predictions.len(), 5);
        for prediction in predictions {
            let probabilities = prediction["probabilities"].as_array().unwrap();
            let sum: f64 = probabilities.iter().map(|one| one.as_f64().unwrap()).sum();
            assert!((sum - 1.0).abs() < 1e-3, "{prediction}");
        }
    }
    // SAFETY: the process is this test's child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    let code = wait(&mut child);
    assert_eq!(code, 0, "{:?}", rest.join().unwrap());
}
