//! Schemas of a schema registry, by their numbers. A schema never changes, so it is fetched once; at most 256 are kept.
//!
//! While the registry does not answer, the topic waits, and the log says so. Nothing is lost: the job ends after
//! `source.registry_timeout`, and goes on with the same message.

use crate::decode::avro::Schema;
use crate::kafka_web::{LARGEST_ANSWER, agent};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sluicebox_core::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use ureq::Agent;

/// Most schemas that are kept.
const MOST: usize = 256;
/// Time after which a number that the registry did not know is asked for again.
const UNKNOWN: Duration = Duration::from_secs(10);
/// Delays between attempts: the first, which doubles, and the longest.
const DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Interval at which a wait looks whether the job is to stop.
const LOOK: Duration = Duration::from_millis(50);
/// Longest text of a registry that a message quotes, in characters.
const LONGEST_REASON: usize = 300;

/// A schema, or why it is not to be had.
type Known = std::result::Result<Schema, String>;

/// Client of a schema registry.
pub struct Schemas {
    agent: Agent,
    url: String,
    /// Header `Authorization`.
    authorization: Option<String>,
    patience: Duration,
    known: HashMap<u32, (Known, Instant)>,
    /// Whether the job is to stop.
    stop: Arc<AtomicBool>,
}

/// Answer of a registry.
#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(default, rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<serde::de::IgnoredAny>,
}

/// Why there is no answer.
enum Fault {
    /// The registry may answer later.
    Passing(String),
    /// It will not.
    Final(String),
}

impl Schemas {
    /// Creates a client by the settings `schema.registry.…` of a job, which wait for the registry for `patience`.
    pub fn new(
        settings: &BTreeMap<String, String>,
        patience: Duration,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let url = settings.get("url").ok_or_else(|| {
            Error::request(
                "source.encoding = \"avro\" needs a schema registry: set source.properties.schema.registry.url",
            )
        })?;
        let basic =
            settings.get("basic.auth.user.info").map(|user| format!("Basic {}", STANDARD.encode(user)));
        let bearer = settings.get("bearer.auth.token").map(|token| format!("Bearer {token}"));
        let authority = settings.get("ssl.ca.location").map(PathBuf::from);
        Ok(Self {
            agent: agent(authority.as_deref())?,
            url: url.trim_end_matches('/').to_string(),
            authorization: basic.or(bearer),
            patience,
            known: HashMap::new(),
            stop,
        })
    }

    /// Returns a schema, or why messages of this number are bad. Waits for a registry that does not answer.
    pub fn get(&mut self, number: u32) -> Result<&Known> {
        let fetched = |known: &(Known, Instant)| known.0.is_ok() || known.1.elapsed() < UNKNOWN;
        if !self.known.get(&number).is_some_and(fetched) {
            let found = self.fetch_patiently(number)?;
            if self.known.len() >= MOST {
                self.known.clear();
            }
            self.known.insert(number, (found, Instant::now()));
        }
        Ok(&self.known[&number].0)
    }

    fn fetch_patiently(&self, number: u32) -> Result<Known> {
        let (began, (mut delay, longest)) = (Instant::now(), DELAYS);
        let mut told = false;
        loop {
            let reason = match self.fetch(number) {
                Ok(known) => {
                    if told {
                        tracing::warn!("the schema registry {} answers again", self.url);
                    }
                    return Ok(known);
                }
                Err(Fault::Final(reason)) => return Err(Error::Request(self.told(&reason))),
                Err(Fault::Passing(reason)) => reason,
            };
            if began.elapsed() >= self.patience || self.stop.load(Ordering::Relaxed) {
                let waited = humantime_serde::re::humantime::format_duration(self.patience);
                let reason = format!("{reason}; it was tried for {waited} (source.registry_timeout)");
                return Err(Error::Engine(self.told(&reason)));
            }
            if !std::mem::replace(&mut told, true) {
                tracing::warn!("{}; waiting until it answers", self.told(&reason));
            }
            let until = Instant::now() + delay;
            while Instant::now() < until && !self.stop.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
            }
            delay = (2 * delay).min(longest);
        }
    }

    fn told(&self, reason: &str) -> String {
        format!("the schema registry {} (schema.registry.url): {reason}", self.url)
    }

    fn fetch(&self, number: u32) -> std::result::Result<Known, Fault> {
        let mut request = self.agent.get(format!("{}/schemas/ids/{number}", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let passing = |error: ureq::Error| Fault::Passing(error.to_string());
        let mut answer = request.call().map_err(passing)?;
        let text = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_string().map_err(passing)?;
        let quoted = || text.chars().take(LONGEST_REASON).collect::<String>();
        match answer.status().as_u16() {
            200 => Ok(parsed(number, &text)),
            404 => Ok(Err(format!("the schema registry has no schema {number}"))),
            status @ (401 | 403) => Err(Fault::Final(format!(
                "{status}: {}; set schema.registry.basic.auth.user.info or schema.registry.bearer.auth.token in \
                 source.properties_file",
                quoted()
            ))),
            status @ (408 | 429 | 500..=599) => Err(Fault::Passing(format!("{status}: {}", quoted()))),
            status => Err(Fault::Final(format!("{status}: {}; is this its address?", quoted()))),
        }
    }
}

fn parsed(number: u32, text: &str) -> Known {
    let answer: Answer = serde_json::from_str(text)
        .map_err(|error| format!("the schema registry's answer for schema {number} is no schema: {error}"))?;
    match answer.kind.as_deref() {
        None | Some("AVRO") => {}
        Some(other) => return Err(format!("schema {number} is of the kind {other}, not AVRO")),
    }
    if !answer.references.is_empty() {
        return Err(format!("schema {number} refers to other schemas, which is not read"));
    }
    Schema::parse(&answer.schema).map_err(|reason| format!("schema {number} cannot be used: {reason}"))
}
