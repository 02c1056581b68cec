//! SIGTERM ends a job soon, whatever its source does.

use crate::support;
use serde_json::Value;
use sluicebox::run::{Options, Parts, run_with};
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Dtype, Format, Samples, Shape};
use sluicebox_core::state::Stateful;
use sluicebox_stream::source::api::{ReadProgress, Source};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Far longer than any wait in these tests.
const LIMIT: Duration = Duration::from_secs(120);

/// A running job; what it says on stderr is collected.
struct Running {
    child: Child,
    said: std::thread::JoinHandle<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self { child, said }
    }

    fn job(file: &str, state: &Path, sets: &[&str]) -> Command {
        let mut command = support::sluicebox();
        command.args(["run", file, "--state", state.to_str().unwrap()]);
        for set in ["device=cpu", "threads=1", "precision=f32"].iter().chain(sets) {
            command.args(["--set", set]);
        }
        command
    }

    /// Sends SIGTERM; returns the exit code, how long the end took, and what was said.
    fn stop(mut self) -> (Option<i32>, Duration, String) {
        let asked = Instant::now();
        // SAFETY: the process is a child that was not waited for, so the id is its own.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if asked.elapsed() > LIMIT {
                let _ = self.child.kill();
                panic!("SIGTERM does not end it");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let took = asked.elapsed();
        println!("ended with {:?} after {took:?}", status.code());
        (status.code(), took, self.said.join().unwrap())
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn letters(state: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(state.join("dead-letter.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn a_folder_with_hostile_files_is_read_on_and_can_be_stopped() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path();
    // A header whose nested brackets would take a parser of Python literals ages.
    let header = format!(
        "{{'descr': '|u1', 'fortran_order': False, 'shape': {}1{}, }}\n",
        "[".repeat(40),
        "]".repeat(40)
    );
    let length = (header.len() as u16).to_le_bytes();
    let npy = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &[0; 64]].concat();
    std::fs::write(path.join("a.npy"), npy).unwrap();
    // A pipe that nobody writes to, and zeros without an end.
    let pipe = std::ffi::CString::new(path.join("b.csv").as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a C string that lives during the call.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    std::fs::File::create(path.join("c.ndjson")).unwrap().set_len(8 << 30).unwrap();
    let lines: String = (0..200).map(|at| format!("[{}]\n", vec![at.to_string(); 64].join(","))).collect();
    std::fs::write(path.join("d.ndjson"), lines).unwrap();
    let job = path.join("job.toml");
    let text = format!(
        "[source]\nkind = \"folder\"\npath = \"{}\"\nshape = [64]\ndtype = \"u8\"\nsettle = \"0s\"\norder = \"name\"\n\
         classes = [\"a\", \"b\"]\nmax_bad = 1.0\n[batch]\nlabelled = 1\nunlabelled = 50\n[model]\nkind = \"mlp\"\n\
         [method]\nkind = \"fixmatch\"\n[checkpoint]\nsteps = 1\n\
         [views]\nweak = []\nlabelled = []\nstrong = [{{ kind = \"jitter\", deviation = 0.1 }}]\n",
        path.display()
    );
    std::fs::write(&job, text).unwrap();
    let running = Running::start(&mut Running::job(job.to_str().unwrap(), state.path(), &[]));
    wait_until("the good file is read", || state.path().join("step-000000000004").exists());
    let told: Vec<String> = letters(state.path()).iter().map(|letter| letter["reason"].to_string()).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    for (reason, says) in told.iter().zip(["its header is damaged", "this is a pipe", "this is no text"]) {
        assert!(reason.contains(says), "{told:?}");
    }
    let (code, _, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_pipe_that_says_nothing_does_not_keep_a_job_alive() {
    let state = tempfile::tempdir().unwrap();
    let mut command = Running::job("pipelines/lines.toml", state.path(), &["batch.unlabelled=50"]);
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let mut pipe = running.child.stdin.take().unwrap();
    let line = "{\"values\": [0, 1, 2, 3, 4]}\n";
    pipe.write_all(line.repeat(50).as_bytes()).unwrap();
    wait_until("it has started", || state.path().join("log").exists());
    let (code, _, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    drop(pipe);
}

#[test]
fn clients_that_say_nothing_do_not_keep_a_job_alive() {
    let state = tempfile::tempdir().unwrap();
    let mut command = Running::job("pipelines/http.toml", state.path(), &["server.listen=127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it did not start");
        if let Some((_, address)) = line.trim().split_once("listening at http://") {
            break address.to_string();
        }
    };
    let half = |text: &str| {
        let mut half = std::net::TcpStream::connect(&address).unwrap();
        half.write_all(text.as_bytes()).unwrap();
        half
    };
    let body = "POST /samples HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n[1";
    let open: Vec<_> = (0..20).map(|at| half(if at % 2 == 0 { body } else { "POST /" })).collect();
    let said = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let (code, _, said) = Running { child, said }.stop();
    assert_eq!(code, Some(0), "{said}");
    drop(open);
}

#[test]
fn a_job_that_cannot_start_for_want_of_an_answer_can_be_stopped() {
    // A broker that accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let text = std::fs::read_to_string(support::root().join("pipelines/kafka.toml")).unwrap();
    let text = text.replace("localhost:9092\"", &format!("{address}\"\nconnect_timeout = \"10m\""));
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let job = folder.path().join("kafka.toml");
    std::fs::write(&job, text).unwrap();
    let running = Running::start(&mut Running::job(job.to_str().unwrap(), state.path(), &[]));
    silent.accept().unwrap();
    let (code, took, said) = running.stop();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("starting has not ended") && said.contains("kafka"), "{said}");
    println!("it took {took:?}");
}

/// A source whose first read never returns; meanwhile the job is asked to stop.
struct Hanging {
    format: Format,
    stop: Arc<AtomicBool>,
}

impl Stateful for Hanging {
    fn save(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn load(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

impl Source for Hanging {
    fn format(&self) -> &Format {
        &self.format
    }

    fn read(&mut self, _count: usize, _samples: &mut Samples) -> Result<ReadProgress> {
        self.stop.store(true, Ordering::Relaxed);
        loop {
            std::thread::park();
        }
    }
}

/// Says that a process is to hang.
const HANG: &str = "SLUICEBOX_TEST_HANG";

/// Runs a job with such a source, in a process that the next test starts for it.
#[test]
fn hang() {
    if std::env::var_os(HANG).is_none() {
        return;
    }
    let format = Format {
        shape: Shape::Vector { features: 2 },
        dtype: Dtype::U8,
        scale: 1.0,
        classes: vec!["a".into(), "b".into()],
    };
    let stop = Arc::new(AtomicBool::new(false));
    let source = Hanging { format, stop: stop.clone() };
    let parts = Parts { source: Some(Box::new(source)), ..Parts::default() };
    let job =
        support::small_job(&["model.kind=mlp", "views.weak=[]", "views.labelled=[]", "views.strong=[]"]);
    let options = Options { patience: Some(Duration::from_millis(500)), ..Options::default() };
    let ended = run_with(parts, &job, &options, stop);
    panic!("it ended by itself: {:?}", ended.map(|summary| summary.steps));
}

#[test]
fn a_read_that_never_returns_is_cut_short() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "stop::hang", "--nocapture"]).env(HANG, "1");
    let mut running = Running::start(&mut command);
    let began = Instant::now();
    let status = loop {
        if let Some(status) = running.child.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < LIMIT, "it is not cut short");
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = running.said.join().unwrap();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("reading has not ended"), "{said}");
    assert!(said.contains("nothing is kept without --state"), "{said}");
}
