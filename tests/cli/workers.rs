//! Several workers, and several threads of one, by the command line.

use crate::support::{output, sluicebox};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const SMALL: [&str; 8] =
    ["--set", "epoch.steps=5", "--set", "device=cpu", "--set", "precision=f32", "--set", "stop.epochs=2"];

fn summary(more: &[&str]) -> serde_json::Value {
    let arguments = [&["run", "pipelines/digits.toml"], &SMALL[..], more].concat();
    let (code, stdout, stderr) = output(&arguments);
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

#[test]
fn workers_are_a_flag_and_a_key() {
    let (flag, key) = (summary(&["--workers", "2"]), summary(&["--set", "workers=2"]));
    assert_eq!(flag["workers"], 2);
    assert_eq!(flag["weights_sha256"], key["weights_sha256"]);
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(flag["threads"], (cores / 2).max(1), "the cores are divided");
    assert_eq!(summary(&["--workers", "2", "--set", "threads=3"])["threads"], 3);
}

#[test]
fn a_job_that_chooses_its_workers_keeps_their_number() {
    let cores = std::thread::available_parallelism().unwrap().get();
    // 32 labelled samples and 128 others are worth 4 workers.
    assert_eq!(summary(&["--workers", "auto"])["workers"], cores.min(4));
    assert_eq!(summary(&["--workers", "auto", "--set", "model.kind=mlp"])["workers"], 1);
    let state = tempfile::tempdir().unwrap();
    let state = ["--state", state.path().to_str().unwrap(), "--set", "threads=1"];
    summary(&[&state[..], &["--workers", "3", "--set", "stop.epochs=1"]].concat());
    assert_eq!(summary(&[&state[..], &["--workers", "auto"]].concat())["workers"], 3, "as in the state");
    let (code, _, stderr) = output(&["check", "pipelines/digits.toml", "--set", "workers=many"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("a number of workers, or \"auto\""), "{stderr}");
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the value of a variable in the environment of a job that runs.
fn in_environment(threads: &str, own: Option<&str>) -> Option<String> {
    let mut command = sluicebox();
    command.args([
        "run",
        "pipelines/digits.toml",
        "--set",
        "device=cpu",
        "--set",
        "stop.epochs=0",
        "--set",
        threads,
    ]);
    command
        .env_remove("GOMP_SPINCOUNT")
        .env_remove("OMP_WAIT_POLICY")
        .envs(own.map(|own| ("GOMP_SPINCOUNT", own)));
    let running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let id = running.0.id();
    // Once it has threads of its own the command has read its job.
    let began = Instant::now();
    while std::fs::read_dir(format!("/proc/{id}/task")).map_or(0, Iterator::count) < 2 {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap();
    let mut variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    variables.find_map(|variable| Some(variable.strip_prefix("GOMP_SPINCOUNT=")?.to_string()))
}

#[test]
fn threads_that_have_nothing_to_do_sleep_soon() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let all = format!("threads={}", cores.max(2));
    assert_eq!(in_environment(&all, None).as_deref(), Some("1000"));
    assert_eq!(in_environment(&all, Some("7")).as_deref(), Some("7"), "the user's own");
    assert_eq!(in_environment("threads=1", None), None, "one thread waits for no other");
}
