//! Runs the command on the pretended device or on the CPU.

use crate::library;
use crate::operations_log::{Operation, read};
use crate::support::sluicebox;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No job of these tests takes longer, on the busiest machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a job left.
pub struct Ended {
    pub summary: Value,
    pub stderr: String,
    pub operations: Vec<Operation>,
}

/// Where a job runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum On {
    Cpu,
    Device,
}

/// Returns the command `run JOB` with settings, in f32 on one thread; none where the device cannot be built.
pub fn command(on: On, job: &str, sets: &[&str]) -> Option<Command> {
    let mut command = sluicebox();
    let device = match on {
        On::Cpu => "device=cpu",
        On::Device => {
            command.env("LD_LIBRARY_PATH", library::folder()?);
            "device=cuda:0"
        }
    };
    command.args(["run", job]);
    for set in [device, "threads=1", "precision=f32"].iter().chain(sets) {
        command.args(["--set", set]);
    }
    Some(command)
}

/// Waits for a process. One that does not end is killed, and the test fails.
pub fn wait(child: &mut Child) -> i32 {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        if began.elapsed() > DEADLINE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the job did not end in {DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a command to its end, with its output in `folder`: returns its exit code, stdout and stderr.
pub fn output(mut command: Command, folder: &Path) -> (i32, String, String) {
    let (stdout, stderr) = (folder.join("stdout"), folder.join("stderr"));
    let file = |path: &Path| Stdio::from(std::fs::File::create(path).unwrap());
    let mut child = command.stdout(file(&stdout)).stderr(file(&stderr)).spawn().unwrap();
    let code = wait(&mut child);
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    (code, text(&stdout), text(&stderr))
}

/// Runs a job to its end; none where the device cannot be built.
pub fn run(on: On, job: &str, sets: &[&str]) -> Option<Ended> {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("operations");
    let mut command = command(on, job, sets)?;
    command.env("PRETENDED_CUDA_LOG", &log);
    let (code, stdout, stderr) = output(command, folder.path());
    assert_eq!(code, 0, "{job} {sets:?} on {on:?}: {stderr}");
    let summary = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let operations = if on == On::Device { read(&log) } else { Vec::new() };
    Some(Ended { summary, stderr, operations })
}
