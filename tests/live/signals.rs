//! Ctrl-C and SIGTERM as wrappers send them: doubled, and again by a user who does not want to wait.

use crate::support::sluicebox;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// A job whose summary goes to a named pipe: it cannot end before somebody reads there.
struct Job {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pipe: PathBuf,
}

impl Job {
    /// Starts a job without an end that writes a checkpoint every 2 steps.
    fn start(folder: &Path, more: &[&str]) -> Self {
        let pipe = folder.join("summary");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let mut command = sluicebox();
        command.args(["run", "pipelines/digits.toml", "--summary", pipe.to_str().unwrap()]).args(more);
        for set in ["stop.epochs=0", "checkpoint.steps=2", "device=cpu", "precision=f32", "threads=1"] {
            command.args(["--set", set]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(File::open(&pipe).unwrap()); // the job looks at the start whether it can write there
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, pipe }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// Reads stderr up to a line with `text`.
    fn hears(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "it ended without saying: {text}");
        }
    }

    /// Waits for the end: returns the exit code and the rest of stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

fn newest(state: &Path) -> Option<u64> {
    let entries =
        std::fs::read_dir(state).ok()?.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter_map(|name| name.strip_prefix("step-")?.parse().ok()).max()
}

#[test]
fn a_doubled_signal_is_one_and_loses_nothing() {
    for signal in ["-INT", "-TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let mut job = Job::start(folder.path(), &["--state", state.to_str().unwrap()]);
        while newest(&state).is_none() {
            sleep(Duration::from_millis(20));
        }
        job.signal(signal);
        sleep(Duration::from_millis(50));
        job.signal(signal);
        job.hears("press Ctrl-C again to stop at once");
        let summary = std::fs::read_to_string(&job.pipe).unwrap();
        let (code, rest) = job.end();
        assert_eq!((code, rest.as_str()), (Some(0), ""));
        let summary: Value = serde_json::from_str(&summary).unwrap();
        assert_eq!(summary["steps"].as_u64(), newest(&state), "the checkpoint is of the last step");
    }
}

#[test]
fn a_later_signal_cuts_short_and_says_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut job = Job::start(folder.path(), &["--state", state.to_str().unwrap()]);
    while newest(&state).is_none() {
        sleep(Duration::from_millis(20));
    }
    job.signal("-INT");
    job.hears("press Ctrl-C again");
    sleep(Duration::from_millis(50));
    job.signal("-INT"); // the same one
    sleep(Duration::from_millis(1500));
    job.signal("-INT");
    let (code, rest) = job.end();
    assert_eq!(code, Some(130), "{rest}");
    let step = newest(&state).unwrap();
    let said =
        format!("stopped at once: the newest checkpoint is step {step}; the summary was not written\n");
    assert_eq!(rest, said);
}

#[test]
fn without_a_state_folder_nothing_is_kept_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = Job::start(folder.path(), &["--set", "epoch.steps=2"]);
    let mut rows = BufReader::new(job.child.stdout.take().unwrap());
    assert!(rows.read_line(&mut String::new()).unwrap() > 0, "it runs");
    job.signal("-TERM");
    job.hears("nothing is saved without --state");
    sleep(Duration::from_millis(1500));
    job.signal("-TERM");
    let (code, rest) = job.end();
    assert_eq!(code, Some(130), "{rest}");
    assert!(rest.contains("stopped at once: nothing is kept without --state"), "{rest}");
}
