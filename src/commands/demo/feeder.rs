//! Who feeds the demo: sends digits to the job's own server, and the labels of a few of them later.

use serde_json::{Value, json};
use sluicebox_client::feed::Rate;
use sluicebox_client::http::{Client, HttpReply};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::tell;
use sluicebox_stream::source::digits;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Requests a second.
const REQUESTS: f64 = 10.0;
/// Most samples a request.
const MOST: f64 = 10_000.0;
/// One sample in so many gets a label.
const LABELLED: u64 = 50;
/// Time between a sample and its label.
const LATE: Duration = Duration::from_secs(2);
/// Seed of the digits: that of the job, so that none is sent that measures the accuracy.
const SEED: u64 = 0;
/// Time that the job has to listen.
const START: Duration = Duration::from_secs(60);
/// Pause after a request that failed.
const AGAIN: Duration = Duration::from_millis(200);
/// Time that a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends samples and labels until the job is to stop.
pub struct Feeder {
    /// Address of the job's server.
    pub page: String,
    /// Its token.
    pub token: Option<String>,
    /// Samples to send.
    pub rate: Rate,
    /// Set once the job is to stop; the feeder sets it where it cannot go on.
    pub stop: Arc<AtomicBool>,
    /// Whether to open the page in a browser once it is served.
    pub browser: bool,
}

impl Feeder {
    /// Starts to send, from a thread of its own.
    pub fn start(self) -> Result<()> {
        let client = Client::new(&self.page, self.token.clone(), None, PATIENCE)?;
        std::thread::Builder::new()
            .name("demo".into())
            .spawn(move || {
                if let Err(reason) = self.feed(&client)
                    && !self.stop.swap(true, Ordering::Relaxed)
                {
                    tell(&format!("demo: {reason}; stopping"));
                }
            })
            .map(drop)
            .map_err(|error| Error::Engine(format!("cannot start the demo's feeder: {error}")))
    }

    fn feed(&self, client: &Client) -> Result<(), String> {
        self.wait(client)?;
        if self.browser
            && let Err(error) = open::that_detached(&self.page)
        {
            tracing::info!("no browser could be opened ({error}): open {} yourself", self.page);
        }
        let count = (self.rate.per_s() / REQUESTS).clamp(1.0, MOST).round();
        let pause = Duration::from_secs_f64(count / self.rate.per_s());
        let (mut digits, mut late) = ((0..).zip(digits::endless(SEED)), VecDeque::new());
        let mut next = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let taken: Vec<(u64, (&[u8], usize))> = digits.by_ref().take(count as usize).collect();
            let samples: Vec<Value> =
                taken.iter().map(|(id, (pixels, _))| json!({ "id": id, "values": pixels })).collect();
            self.send(client, "/samples", &samples)?;
            let labelled = taken.iter().filter(|(id, _)| id % LABELLED == 0);
            late.extend(labelled.map(|(id, (_, class))| (Instant::now() + LATE, *id, *class)));
            let due = late.iter().take_while(|(at, ..)| *at <= Instant::now()).count();
            let labels: Vec<Value> =
                late.drain(..due).map(|(_, id, class)| json!({ "id": id, "class": class })).collect();
            if !labels.is_empty() {
                self.send(client, "/labels", &labels)?;
            }
            next = (next + pause).max(Instant::now()); // lost time is not made up
            self.sleep_until(next);
        }
        Ok(())
    }

    /// Waits until the job's server answers, and makes sure that it is the one of this process.
    fn wait(&self, client: &Client) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let answer = client.get("/healthz").ok();
            let pid = answer.and_then(|answer| {
                let health: Value = serde_json::from_str(&answer.text).ok()?;
                health["pid"].as_u64()
            });
            match pid {
                Some(pid) if pid == u64::from(std::process::id()) => return Ok(()),
                Some(_) => return Err(format!("another job listens at {}", self.page)),
                None if self.stop.load(Ordering::Relaxed) => return Err("stopped".into()),
                None if began.elapsed() > START => return Err(format!("{} does not answer", self.page)),
                None => sleep(AGAIN),
            }
        }
    }

    /// Sends until it is taken: what is sent twice is taken once, by its id.
    fn send(&self, client: &Client, path: &str, body: &[Value]) -> Result<(), String> {
        while !self.stop.load(Ordering::Relaxed) {
            match client.post(path, body) {
                Ok(reply) if reply.status.is_success() => return Ok(()),
                Ok(reply) if passes(&reply) => {}
                Ok(reply) => return Err(format!("POST {path}: {}", reply.reason())),
                Err(error) => tracing::debug!("POST {path}: {error}"),
            }
            sleep(AGAIN);
        }
        Ok(())
    }

    /// Sleeps, but not on after the job is to stop.
    fn sleep_until(&self, at: Instant) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(left) = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return;
            };
            sleep(left.min(AGAIN));
        }
    }
}

/// Returns whether a refusal passes by itself: the log is full, or the server is busy.
fn passes(reply: &HttpReply) -> bool {
    matches!(reply.status.as_u16(), 408 | 429 | 503)
}
