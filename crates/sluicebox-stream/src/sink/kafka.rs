//! The teacher's predictions as messages of a Kafka topic: the key is the sample's id, the value
//! one JSON object. All messages of a step are delivered before a checkpoint includes the step, so
//! none is lost; after a crash, those since the last checkpoint are sent again.
//!
//! While the brokers do not answer, the job waits, and says so. It ends where a message is not delivered within
//! `message.timeout.ms`; a job that is to stop waits 5 s.

use crate::kafka_client::{self, Connection, Properties};
use crate::kafka_errors::{LastError, unusable};
use crate::sink::{Sink, predictions};
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::controls::Controls;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::Stateful;
use sluicebox_core::step::Prediction;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Options of the sink.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Bootstrap brokers: `host:port`, comma-separated.
    pub brokers: String,
    /// Name of the topic.
    pub topic: String,
    /// Bytes of messages that may wait for the brokers; beyond that, the job waits.
    #[serde(default = "sixty_four_mib")]
    pub buffer_bytes: usize,
    /// Longest wait for the brokers to answer at the start.
    #[serde(default = "ten_seconds", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// File of further librdkafka settings, one `key=value` per line; for secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties_file: Option<PathBuf>,
    /// Further librdkafka settings, such as `message.timeout.ms` (5 minutes): a message that is not
    /// delivered by then ends the job.
    #[serde(default, skip_serializing_if = "Properties::is_empty")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub properties: Properties,
}

fn sixty_four_mib() -> usize {
    64 << 20
}
fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

/// librdkafka settings that this sink decides.
const DECIDED: [&str; 4] =
    ["bootstrap.servers", "client.id", "enable.idempotence", "queue.buffering.max.kbytes"];
/// Delay before the sink checks again for room, or for complete delivery.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Wait for the brokers after which the job says that it is held.
const HELD: Duration = Duration::from_secs(1);
/// Longest wait for the brokers once the job is to stop.
const STOPPING: Duration = Duration::from_secs(5);
/// Part of the job in its troubles.
const PART: &str = "predictions-kafka";

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        for (key, text) in [("brokers", &self.brokers), ("topic", &self.topic)] {
            if text.trim().is_empty() {
                faults.push((key, "is empty".into()));
            }
        }
        if !(1 << 16..=1 << 40).contains(&self.buffer_bytes) {
            faults.push(("buffer_bytes", format!("{} is not from 65536 to 2^40", self.buffer_bytes)));
        }
        if self.connect_timeout.is_zero() {
            faults.push(("connect_timeout", "0 s is too short: the brokers need time to answer".into()));
        }
        faults.extend(kafka_client::faults(&self.properties, &DECIDED).map(|reason| ("properties", reason)));
        faults
    }
}

/// Client context that keeps the result of deliveries.
#[derive(Default)]
struct Deliveries {
    last_error: LastError,
    /// Reason why a message was not delivered.
    failed: Mutex<Option<String>>,
    /// The job's controls: such a message ends the job even if no step comes.
    controls: OnceLock<Controls>,
    topic: String,
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.last_error.token()
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.last_error.error(error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, part: &str, line: &str) {
        self.last_error.log(level, part, line);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let reason = self.last_error.reason(error);
            if let Some(controls) = self.controls.get() {
                controls.health.fail(format!("predictions to topic `{}`: {reason}", self.topic));
            }
            *self.failed.lock() = Some(reason);
        }
    }
}

/// A wait for the brokers.
struct Wait {
    began: Instant,
    /// When the job was first seen to be ending.
    ending: Option<Instant>,
}

impl Wait {
    fn new() -> Self {
        Self { began: Instant::now(), ending: None }
    }
}

struct Kafka {
    options: Settings,
    producer: ThreadedProducer<Deliveries>,
}

/// Connects to the brokers.
pub fn build(spec: &Spec) -> Result<Box<dyn Sink>> {
    let options: Settings = settings(spec)?;
    let Settings { brokers, topic, connect_timeout, .. } = &options;
    let Connection { mut config, context: last_error, .. } =
        kafka_client::connection(brokers, &options.properties, options.properties_file.as_ref())?;
    config.set("enable.idempotence", "true");
    config.set("queue.buffering.max.kbytes", (options.buffer_bytes >> 10).to_string());
    let producer: ThreadedProducer<Deliveries> = config
        .create_with_context(Deliveries { topic: topic.clone(), last_error, ..Deliveries::default() })
        .map_err(|error| Error::Request(format!("sink.properties: {}", unusable(&error))))?;
    producer.client().fetch_metadata(Some(topic), *connect_timeout).map_err(|error| {
        let waited = humantime_serde::re::humantime::format_duration(*connect_timeout);
        Error::Request(format!(
            "no broker at {brokers} answered about topic `{topic}` within {waited}: {}; check that the sink's brokers \
             are correct",
            producer.context().last_error.reason(&error)
        ))
    })?;
    Ok(Box::new(Kafka { options, producer }))
}

impl Kafka {
    /// Fails if a message was not delivered: a restart sends it again.
    fn check(&self) -> Result<()> {
        let failed = self.producer.context().failed.lock();
        match &*failed {
            Some(reason) => Err(self.fault(reason)),
            None => Ok(()),
        }
    }

    fn fault(&self, reason: impl std::fmt::Display) -> Error {
        Error::Engine(format!("predictions to topic `{}`: {reason}", self.options.topic))
    }

    /// Looks after a wait: fails if a message was not delivered, or if the job is ending and has waited for long
    /// enough. Says when the job is held.
    fn look(&self, wait: &mut Wait) -> Result<()> {
        self.check()?;
        let deliveries = self.producer.context();
        let Some(controls) = deliveries.controls.get() else { return Ok(()) };
        let (messages, topic) = (self.producer.in_flight_count(), &self.options.topic);
        let waiting = || {
            let last = deliveries.last_error.last().unwrap_or_else(|| "the brokers do not answer".into());
            format!("{messages} predictions to topic `{topic}` are not delivered: {last}")
        };
        if wait.began.elapsed() >= HELD && controls.health.trouble(PART, waiting()) {
            tracing::warn!(
                "the job is held: {}; it ends once one is not delivered within message.timeout.ms (5 minutes, unless \
                 sink.properties say otherwise)",
                waiting()
            );
        }
        let is_ending = controls.is_stopped() || controls.health.failure().is_some();
        if is_ending && wait.ending.get_or_insert_with(Instant::now).elapsed() >= STOPPING {
            return Err(Error::Engine(format!(
                "{}; the job is to stop and waits no longer than {} s: they are sent again when it goes on from the \
                 newest checkpoint",
                waiting(),
                STOPPING.as_secs()
            )));
        }
        Ok(())
    }

    /// Says that a wait is over, if it was told.
    fn goes_on(&self) {
        if self.producer.context().controls.get().is_some_and(|controls| controls.health.works(PART)) {
            tracing::info!(
                "the job goes on: predictions to topic `{}` are delivered again",
                self.options.topic
            );
        }
    }

    fn send(&self, key: &str, value: &[u8]) -> Result<()> {
        let mut record = BaseRecord::to(&self.options.topic).key(key).payload(value);
        let mut wait = Wait::new();
        loop {
            self.look(&mut wait)?;
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    std::thread::sleep(LOOK_AGAIN); // the producer's own thread sends
                    record = back;
                }
                Err((error, _)) => return Err(self.fault(error)),
            }
        }
    }
}

impl Stateful for Kafka {
    /// Waits until all messages are delivered; fails if one cannot be, or if the job is ending and the brokers do not
    /// answer.
    fn save(&self) -> Result<Vec<u8>> {
        let mut wait = Wait::new();
        while self.producer.in_flight_count() > 0 {
            self.look(&mut wait)?;
            // A timeout is not a failure.
            let _ = self.producer.flush(LOOK_AGAIN);
        }
        self.check()?;
        self.goes_on();
        Ok(Vec::new())
    }

    /// Does nothing: messages since the state was saved are sent again, each at least once.
    fn load(&mut self, _state: &[u8]) -> Result<()> {
        Ok(())
    }
}

impl Sink for Kafka {
    fn name(&self) -> String {
        format!("predictions-kafka {}", self.options.topic)
    }

    fn watch(&mut self, controls: &Controls) {
        let _ = self.producer.context().controls.set(controls.clone()); // called once
    }

    fn predictions(&mut self, rows: &[Prediction], classes: &[String]) -> Result<()> {
        for row in rows {
            let value = predictions::json(row, classes).map_err(|error| self.fault(error))?;
            self.send(&row.id.to_string(), &value)?;
        }
        Ok(())
    }
}
