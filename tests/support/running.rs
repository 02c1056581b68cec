//! A job in a process of its own, with a server, that a test can ask, feed and disturb.

#![allow(dead_code, missing_docs)]

use crate::support::sluicebox;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Returns a job with 8 × 8 samples from `POST /samples`, and digits for the first labels.
pub fn fed_job(more: &str) -> String {
    let classes: Vec<String> = (0..10).map(|class| format!("\"{class}\"")).collect();
    format!(
        "threads = 1\nprecision = \"f32\"\ndevice = \"cpu\"\n\
         [[source]]\nkind = \"digits\"\nweight = 0\n\
         [[source]]\nkind = \"http\"\nshape = [1, 8, 8]\ndtype = \"u8\"\nscale = 0.0625\nclasses = [{}]\n\
         [batch]\nlabelled = 8\nunlabelled = 32\nmax_wait = \"20ms\"\n\
         [model]\nkind = \"mlp\"\nhidden = [32]\n\
         [views]\nweak = []\nstrong = [{{ kind = \"noise\", deviation = 0.2 }}]\n\
         [teacher]\nema = 0.9\n\
         [epoch]\nsteps = 1000\n[server]\nlisten = \"127.0.0.1:0\"\n{more}",
        classes.join(", ")
    )
}

/// Returns a sample as a line of JSON; its values follow from its id.
pub fn sample(id: u64) -> String {
    let values: Vec<u64> = (0..64).map(|at| (id * 31 + at * 7) % 17).collect();
    format!("{}\n", json!({ "id": id, "values": values }))
}

pub fn lines(ids: std::ops::Range<u64>) -> String {
    ids.map(sample).collect()
}

/// A running job. It is killed when it is dropped.
pub struct Running {
    pub child: Child,
    said: Arc<Mutex<Vec<String>>>,
    /// Reads stdout to its end: a full pipe would hold the job.
    stdout: Option<JoinHandle<String>>,
}

pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Value,
}

impl Running {
    /// Starts `job` with its state in `state`.
    pub fn start(job: &Path, state: &Path) -> Self {
        Self::of(sluicebox(), job, state)
    }

    /// Starts a job by `command`, which takes the arguments of the binary.
    pub fn of(mut command: Command, job: &Path, state: &Path) -> Self {
        let arguments = ["run", job.to_str().unwrap(), "--state", state.to_str().unwrap(), "--log", "json"];
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let saying = said.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                saying.lock().unwrap().push(line);
            }
        });
        let mut stdout = child.stdout.take().unwrap();
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, said, stdout: Some(stdout) }
    }

    /// Returns all that the job has said so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// Waits until `found` returns something.
    pub fn wait<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "{what} does not happen; the job said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the job says something that contains `text`.
    pub fn wait_for(&self, text: &str) {
        self.wait(text, || self.said().contains(text).then_some(()));
    }

    /// Returns the address of the job's server, once it has one.
    pub fn address(&self) -> String {
        let address = || {
            let said = self.said();
            let (_, rest) = said.split_once("listening at http://")?;
            Some(format!("http://{}", rest.split('"').next()?))
        };
        self.wait("the server", address)
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.try_post(path, body).unwrap_or_else(|error| panic!("{error}; the job said:\n{}", self.said()))
    }

    pub fn try_post(&self, path: &str, body: &str) -> Result<Answer, ureq::Error> {
        let request = agent().post(format!("{}{path}", self.address()));
        Ok(answer(request.content_type("application/x-ndjson").send(body)?))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|error| panic!("{error}; the job said:\n{}", self.said()))
    }

    pub fn try_get(&self, path: &str) -> Result<Answer, ureq::Error> {
        Ok(answer(agent().get(format!("{}{path}", self.address())).call()?))
    }

    /// Sends samples and waits until they have been taken.
    pub fn feed(&self, ids: std::ops::Range<u64>) {
        let body = lines(ids);
        let taken = || (self.post("/samples", &body).status == 200).then_some(());
        self.wait("the samples are taken", taken);
    }

    /// Returns the step of the newest teacher.
    pub fn step(&self) -> u64 {
        self.get("/healthz").body["step"].as_u64().unwrap_or(0)
    }

    /// Waits for `step` steps.
    pub fn wait_for_step(&self, step: u64) {
        self.wait(&format!("step {step}"), || (self.step() >= step).then_some(()));
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end; returns the exit status and stdout.
    pub fn end(&mut self) -> (ExitStatus, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "the job does not end; it said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        };
        (status, self.stdout.take().expect("a job ends once").join().unwrap())
    }

    /// Ends the job by SIGTERM and returns its summary.
    pub fn stop(&mut self) -> Value {
        self.signal("TERM");
        let (status, stdout) = self.end();
        assert!(status.success(), "{status}: {}", self.said());
        serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(20)));
    config.http_status_as_error(false).build().into()
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let retry_after = response.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_string());
    let text = response.body_mut().read_to_string().unwrap_or_default();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status: response.status().as_u16(), retry_after, body }
}
