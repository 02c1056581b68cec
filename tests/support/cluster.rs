//! Processes of one job on this machine, each a command of its own.

#![allow(dead_code, missing_docs)]

use crate::support::sluicebox;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Far longer than any wait in these tests, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(120);

/// One process. It is killed when it is dropped.
pub struct Process {
    pub child: Child,
    said: Arc<Mutex<String>>,
    stderr: Option<JoinHandle<()>>,
    stdout: Option<JoinHandle<String>>,
}

/// How a process has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub said: String,
    pub took: Duration,
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {:?} after {:?}:\n{}", self.code, self.took, self.said)
    }
}

impl Ended {
    /// Returns the summary that process 0 has printed.
    pub fn summary(&self) -> Value {
        let line = self.stdout.lines().last();
        line.and_then(|line| serde_json::from_str(line).ok())
            .unwrap_or_else(|| panic!("no summary: {self:?}"))
    }

    pub fn weights(&self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.summary()["weights_sha256"].as_str().unwrap().to_string()
    }
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said: Arc<Mutex<String>> = Arc::default();
        let saying = said.clone();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let stderr = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                *saying.lock().unwrap() += &format!("{line}\n");
            }
        });
        let mut stdout = child.stdout.take().unwrap();
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        });
        Self { child, said, stderr: Some(stderr), stdout: Some(stdout) }
    }

    /// Starts the command with arguments.
    pub fn of(arguments: &[&str]) -> Self {
        let mut command = sluicebox();
        command.args(arguments);
        Self::start(command)
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub fn wait_for(&self, text: &str) {
        let began = Instant::now();
        while !self.said().contains(text) {
            assert!(began.elapsed() < LIMIT, "`{text}` was not said, but:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the process is a child that was not waited for, so the id is its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Waits until it has ended.
    pub fn end(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < LIMIT, "it does not end; it said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = began.elapsed();
        self.stderr.take().map(JoinHandle::join);
        let stdout = self.stdout.take().unwrap().join().unwrap();
        Ended { code: status.code(), stdout, said: self.said(), took }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// Returns a port of this machine at which nobody listens.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Writes a hosts file of so many processes of this machine; returns the address of process 0.
pub fn write_hosts(path: &Path, processes: usize) -> String {
    let addresses: Vec<String> = (0..processes).map(|_| format!("127.0.0.1:{}", free_port())).collect();
    std::fs::write(path, format!("# processes of a test\n{}\n", addresses.join("\n"))).unwrap();
    addresses[0].clone()
}

/// Returns the arguments of a small job of digits on `workers` workers.
pub fn small(workers: usize, more: &[&str]) -> Vec<String> {
    let sets = [
        "epoch.steps=8",
        "stop.epochs=3",
        "device=cpu",
        "precision=f32",
        "threads=1",
        "method.threshold=0.5",
    ];
    let uneven = ["batch.labelled=33", "batch.unlabelled=101"];
    let sets = sets.iter().chain(&uneven).flat_map(|set| ["--set".to_string(), set.to_string()]);
    let first = ["run", "pipelines/digits.toml", "--log", "json"].map(String::from).into_iter();
    let workers = ["--workers".to_string(), workers.to_string()];
    first.chain(sets).chain(workers).chain(more.iter().map(|one| one.to_string())).collect()
}

/// Starts all processes of a job, which `arguments` describe but for hosts and process.
pub fn start_all(arguments: &[String], processes: usize, hosts: &Path) -> Vec<Process> {
    write_hosts(hosts, processes);
    (0..processes).map(|process| start_one(arguments, process, hosts)).collect()
}

/// Starts one process of a job.
pub fn start_one(arguments: &[String], process: usize, hosts: &Path) -> Process {
    let mut command = sluicebox();
    command.args(arguments).arg("--hosts").arg(hosts).args(["--process", &process.to_string()]);
    Process::start(command)
}

/// Runs a job on several processes to its end; all must end well. Returns how process 0 has.
pub fn run_all(arguments: &[String], processes: usize) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let all = start_all(arguments, processes, &folder.path().join("hosts"));
    let mut ends: Vec<Ended> = all.into_iter().map(Process::end).collect();
    for (process, end) in ends.iter().enumerate() {
        assert_eq!(end.code, Some(0), "process {process}: {end:?}");
    }
    ends.swap_remove(0)
}
