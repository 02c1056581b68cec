//! Tells an HTTP server what happens to the job: a POST for each alarm, closed gate and failure. Restarts and
//! checkpoints too, if `kinds` names them.
//!
//! The body is one JSON object: `job`, `kind` (such as `drift`), `text`, `epoch`, `step`, `at_ms` and `version`. An
//! answer of 2xx takes it. After no answer, 408, 429 or 5xx it is sent again with growing pauses, for `retry_for`; any
//! other answer is final. At most 256 wait; the oldest of more is dropped, with a warning. The job never waits.

use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::{About, Mark, MarkKind};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::Agent;

/// Most marks that wait to be sent.
const WAITING: usize = 256;
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// First and longest pause before another attempt.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Time for what still waits when the job ends: less than observers get.
const LAST: Duration = Duration::from_secs(8);

/// Options of the sink.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address, with http:// or https://.
    pub url: String,
    /// What is told.
    #[serde(default = "usual")]
    pub kinds: Vec<MarkKind>,
    /// File with a token, which is sent as `Authorization: Bearer …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Time for which a mark is sent again.
    #[serde(default = "patience", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retry_for: Duration,
}

fn usual() -> Vec<MarkKind> {
    vec![MarkKind::Drift, MarkKind::Gate, MarkKind::Alarm, MarkKind::Failure]
}

fn patience() -> Duration {
    Duration::from_secs(300)
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !["http://", "https://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            faults.push(("url", format!("`{}` does not begin with http:// or https://", self.url)));
        }
        if self.kinds.is_empty() {
            faults.push(("kinds", "it is empty, so that nothing is ever told: leave the sink out".into()));
        }
        faults
    }
}

/// What is sent.
#[derive(Serialize)]
struct Body<'a> {
    job: &'a str,
    version: &'a str,
    #[serde(flatten)]
    mark: &'a Mark,
}

struct Webhook {
    settings: Settings,
    token: Option<String>,
    about: About,
    agent: Agent,
    /// What waits to be sent, each since when.
    waiting: VecDeque<(Arc<Mark>, Instant)>,
    pause: Duration,
    due: Instant,
}

/// What became of an attempt.
enum Outcome {
    Taken,
    Refused(String),
    Failed(String),
}

/// Builds the sink for a job.
pub fn build(spec: &Spec, about: &About) -> Result<Box<dyn Observer>> {
    let settings: Settings = settings(spec)?;
    let read = |path: &PathBuf| {
        let token = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
        Ok::<_, Error>(token.trim().to_string())
    };
    let token = settings.token_file.as_ref().map(read).transpose()?;
    let agent =
        Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER)).build().into();
    let (about, due) = (about.clone(), Instant::now());
    let waiting = VecDeque::new();
    Ok(Box::new(Webhook { settings, token, about, agent, waiting, pause: PAUSES.0, due }))
}

impl Webhook {
    fn send(&self, mark: &Mark) -> Outcome {
        let body = Body { job: &self.about.job, version: &self.about.version, mark };
        let mut request = self.agent.post(&self.settings.url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        match request.send_json(body) {
            Err(error) => Outcome::Failed(error.to_string()),
            Ok(answer) if answer.status().is_success() => Outcome::Taken,
            Ok(answer) => {
                let (code, reason) = (answer.status().as_u16(), format!("it answers {}", answer.status()));
                if matches!(code, 408 | 429 | 500..) {
                    Outcome::Failed(reason)
                } else {
                    Outcome::Refused(reason)
                }
            }
        }
    }

    /// Sends what waits and is due, until one fails.
    fn work(&mut self) {
        while Instant::now() >= self.due
            && let Some((mark, since)) = self.waiting.front().cloned()
        {
            let given_up = match self.send(&mark) {
                Outcome::Taken => {
                    self.pause = PAUSES.0;
                    None
                }
                Outcome::Refused(reason) => Some(reason),
                Outcome::Failed(reason) if since.elapsed() >= self.settings.retry_for => Some(reason),
                Outcome::Failed(_) => {
                    self.due = Instant::now() + self.pause;
                    self.pause = (2 * self.pause).min(PAUSES.1);
                    return;
                }
            };
            if let Some(reason) = given_up {
                let (url, kind) = (&self.settings.url, mark.kind.name());
                tracing::warn!("{url} was not told of a {kind}: {reason}");
            }
            self.waiting.pop_front();
        }
    }
}

impl Observer for Webhook {
    fn name(&self) -> String {
        format!("webhook {}", self.settings.url)
    }

    fn notify(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            let Event::Mark(mark) = event else { continue };
            if !self.settings.kinds.contains(&mark.kind) {
                continue;
            }
            if self.waiting.len() == WAITING
                && let Some((oldest, _)) = self.waiting.pop_front()
            {
                let (url, kind) = (&self.settings.url, oldest.kind.name());
                tracing::warn!("{url} was not told of a {kind}: {WAITING} newer ones wait");
            }
            self.waiting.push_back((mark.clone(), Instant::now()));
        }
        self.work();
        Ok(())
    }

    fn tick(&mut self) {
        self.work();
    }
}

impl Drop for Webhook {
    /// Sends what still waits, within a limited time.
    fn drop(&mut self) {
        let end = Instant::now() + LAST;
        while !self.waiting.is_empty() && Instant::now() < end {
            self.work();
            let pause = self.due.saturating_duration_since(Instant::now());
            std::thread::sleep(pause.min(end.saturating_duration_since(Instant::now())));
        }
        if !self.waiting.is_empty() {
            let (url, count) = (&self.settings.url, self.waiting.len());
            tracing::warn!("{url} was not told of {count} things, as the job has ended");
        }
    }
}
