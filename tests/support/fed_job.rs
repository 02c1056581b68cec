//! A job that is fed over HTTP and TCP, as a process: started, asked, stopped and killed. Every wait has a
//! deadline.

#![allow(dead_code, missing_docs)]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest time that anything may take on a machine that does nothing else.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the time that anything may take: longer where more processes want the machine than it has cores.
pub fn patience() -> Duration {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    PATIENCE.mul_f64(2.0 + load / cores)
}

/// Waits until `done` returns something; None after the deadline.
pub fn within<T>(patience: Duration, mut done: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = done() {
            return Some(found);
        }
        if began.elapsed() > patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns 64 values from 0 to 16 that follow from an id.
pub fn values(id: u64) -> Vec<u8> {
    let mut state = id;
    let mut draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % 17
    };
    (0..64).map(|_| draw() as u8).collect()
}

/// The files of a job: what it is, its state and its predictions.
pub struct Place {
    pub folder: PathBuf,
    /// Port of the TCP source.
    pub port: u16,
}

impl Place {
    pub fn new(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let place = Self { folder: folder.to_path_buf(), port };
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(place.job(), place.text()).unwrap();
        place
    }

    pub fn job(&self) -> PathBuf {
        self.folder.join("fed.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub fn log(&self) -> PathBuf {
        self.state().join("log")
    }

    pub fn predictions(&self) -> PathBuf {
        self.folder.join("predictions.ndjson")
    }

    /// A job with labelled digits, small steps, and a log that is as small as it may be.
    fn text(&self) -> String {
        let fed = "shape = [1, 8, 8]\ndtype = \"u8\"\nscale = 0.0625\n\
                   classes = [\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]";
        let Self { port, .. } = self;
        let predictions = self.predictions();
        format!(
            "threads = 1\nprecision = \"f32\"\ndevice = \"cpu\"\n\
             [[source]]\nkind = \"digits\"\nweight = 0\n\
             [[source]]\nkind = \"http\"\n{fed}\n\
             [[source]]\nkind = \"tcp\"\nweight = 0.5\nlisten = \"127.0.0.1:{port}\"\n\
             max_frame_bytes = 16384\n{fed}\n\
             [batch]\nlabelled = 8\nunlabelled = 16\nmax_wait = \"20ms\"\n\
             [model]\nkind = \"mlp\"\nhidden = [32]\n\
             [method]\nkind = \"fixmatch\"\nthreshold = 0.6\n\
             [views]\nweak = []\nstrong = [{{ kind = \"noise\", deviation = 0.2 }}]\n\
             [teacher]\nema = 0.9\n\
             [epoch]\nsteps = 50\n\
             [checkpoint]\nsteps = 4\n\
             [log]\nmax_bytes = 65536\nsegment_bytes = 4096\n\
             [server]\nlisten = \"127.0.0.1:0\"\n\
             [[sink]]\nkind = \"predictions\"\npath = \"{}\"\n",
            predictions.display()
        )
    }

    /// Returns the ids of the predictions, in their order; the largest number for a line that has none.
    pub fn predicted(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(self.predictions()).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let id = |line: &str| serde_json::from_str::<Value>(line).ok()?["id"].as_u64();
        whole.lines().map(|line| id(line).unwrap_or(u64::MAX)).collect()
    }

    /// Starts the job with further arguments and environment.
    pub fn start(&self, arguments: &[&str], environment: &[(String, String)]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicebox"));
        command.arg("run").arg(self.job()).arg("--state").arg(self.state()).args(["--log", "json"]);
        command.args(arguments).envs(environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let heard = said.clone();
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        Process { child, said, listener: Some(listener), address: String::new() }
    }
}

/// How a job that was started came up.
#[derive(Debug, PartialEq)]
pub enum Came {
    Up,
    /// It ended with this exit code; None where a signal ended it.
    Ended(Option<i32>),
    /// Neither within the deadline.
    Hangs,
}

/// A job that was started.
pub struct Process {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    listener: Option<JoinHandle<()>>,
    address: String,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the job listens or has ended.
    pub fn comes_up(&mut self) -> Came {
        within(patience() * 3, || {
            let told = "listening at ";
            if let Some(found) = self.said(told).pop() {
                self.address = found[found.find(told)? + told.len()..].to_string();
                return Some(Came::Up);
            }
            self.ended().map(Came::Ended)
        })
        .unwrap_or(Came::Hangs)
    }

    /// Returns the exit code if the job has ended: None inside where a signal ended it.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        let status = self.child.try_wait().unwrap()?;
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
        Some(status.code())
    }

    /// Waits for the end of the job; None where it hangs.
    pub fn ends(&mut self) -> Option<Option<i32>> {
        within(patience(), || self.ended())
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Ends the job by SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.ended();
    }

    /// Returns the texts of the lines on stderr that contain `part`.
    pub fn said(&self, part: &str) -> Vec<String> {
        let said = self.said.lock().unwrap();
        said.iter().map(|line| text(line)).filter(|text| text.contains(part)).collect()
    }

    /// Returns the last lines on stderr, for messages.
    pub fn last_words(&self) -> String {
        let said = self.said.lock().unwrap();
        let panicked = said.iter().position(|line| line.contains("panicked at"));
        let from = panicked.unwrap_or(said.len()).min(said.len().saturating_sub(12));
        said[from..said.len().min(from + 60)].join("\n")
    }

    /// Returns the warnings and errors on stderr, and the last words of a job that fails.
    pub fn complaints(&self) -> Vec<String> {
        let level =
            |line: &str| serde_json::from_str::<Value>(line).ok()?["level"].as_str().map(String::from);
        let grave = |line: &&String| match level(line) {
            Some(level) => level == "warn" || level == "error",
            None => !line.is_empty() && !line.starts_with("finishing the step"),
        };
        let said = self.said.lock().unwrap();
        said.iter().filter(grave).map(|line| text(line)).collect()
    }

    /// Sends a request; returns status and answer, or why there is none.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<(u16, Value), String> {
        let config = ureq::Agent::config_builder().timeout_global(Some(patience()));
        let agent: ureq::Agent = config.http_status_as_error(false).build().into();
        let url = format!("{}{path}", self.address);
        let sent = match method {
            "GET" => agent.get(url).call(),
            _ => agent.post(url).content_type("application/x-ndjson").send(body),
        };
        let mut answer = sent.map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Posts samples with ids, every fourth with a label; `with` says of each which id's values it has.
    pub fn post(&self, ids: &[u64], with: impl Fn(u64) -> u64) -> Result<(u16, Value), String> {
        let label = |id: u64| (id % 4 == 3).then_some(id % 10);
        let line =
            |id: &u64| format!("{}\n", json!({ "id": id, "values": values(with(*id)), "label": label(*id) }));
        self.ask("POST", "/samples?ids=1", &ids.iter().map(line).collect::<String>())
    }

    /// Posts `count` samples without ids.
    pub fn post_unnamed(&self, count: usize, seed: u64) -> Result<(u16, Value), String> {
        let line = |at| format!("{}\n", json!({ "values": values(seed + at as u64) }));
        self.ask("POST", "/samples?ids=1", &(0..count).map(line).collect::<String>())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the text of a line of the log, or the line where it is none.
fn text(line: &str) -> String {
    let parsed: Value = serde_json::from_str(line).unwrap_or_default();
    parsed["text"].as_str().unwrap_or(line).to_string()
}
