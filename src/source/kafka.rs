//! A topic of Kafka. It can be read again, so nothing of it is kept here: a checkpoint holds the
//! next offset of each partition, and the brokers keep no position for a job. Partitions are
//! read as messages arrive; how is noted with each step, so that a step can be done again.

mod fetch;
mod message;
mod reading;

use super::dead_letter::DeadLetters;
use super::logged::Look;
use super::{Context, HeldOut, Live, Progress, Source};
use crate::brokers::{self, Ears, Properties};
use crate::error::{Error, Result};
use crate::registry::{Spec, settings};
use crate::samples::{Dtype, Format, Labelled, Samples, Values};
use fetch::{Fetcher, Plan};
use message::{Decoder, Encoding};
use rdkafka::consumer::{BaseConsumer, Consumer};
use reading::Reading;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where brokers are first looked for: `host:port`, several with commas between.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// How a message holds a sample.
    pub encoding: Encoding,
    /// `[features]`, or `[channels, height, width]`.
    pub shape: Vec<usize>,
    /// `u8` or `f32`.
    pub dtype: Dtype,
    /// A value times this is what the model sees; by default 1/255 for u8 and 1 for f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f32>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Where a job that starts anew begins.
    #[serde(default)]
    pub start: Start,
    /// What is done where messages that were not read yet are gone.
    #[serde(default)]
    pub on_gap: OnGap,
    /// Bytes of samples that wait to be read, over all partitions.
    #[serde(default = "sixty_four_mib")]
    pub buffer_bytes: usize,
    /// How long brokers may take to answer at the start.
    #[serde(default = "ten_seconds", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Largest part of the messages that may be bad.
    #[serde(default = "one_percent")]
    pub max_bad: f64,
    /// Where bad messages are named; by default `dead-letter.jsonl` in the state folder or here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<PathBuf>,
    /// A file of more settings of librdkafka, `key=value` a line: for secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties_file: Option<PathBuf>,
    /// More settings of librdkafka, such as `security.protocol`.
    #[serde(default, skip_serializing_if = "Properties::is_empty")]
    pub properties: Properties,
}

/// Where a job that starts anew begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// With the oldest message of each partition.
    #[default]
    Earliest,
    /// With what comes from now on.
    Latest,
}

/// What is done where messages that were not read yet are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnGap {
    /// The job fails and says how many.
    #[default]
    Fail,
    /// It goes on behind them, with a warning.
    Skip,
}

fn sixty_four_mib() -> usize {
    64 << 20
}
fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}
fn one_percent() -> f64 {
    0.01
}

/// Settings of librdkafka that this source decides.
const DECIDED: [&str; 6] = [
    "bootstrap.servers",
    "client.id",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
];

/// What librdkafka is told unless the job says otherwise. The queue is ours, so that its own can
/// be short, and a partition must soon go on after a pause.
const USUAL: [(&str, &str); 4] = [
    ("group.id", "sluicebox"), // it wants one; nothing is kept under it
    ("queued.max.messages.kbytes", "1024"),
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.wait.max.ms", "100"),
];

impl Settings {
    fn look(&self) -> Look {
        let (shape, classes) = (self.shape.clone(), self.classes.clone());
        Look { shape, dtype: self.dtype, scale: self.scale, classes }
    }
}

impl crate::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.look().faults();
        for (key, text) in [("brokers", &self.brokers), ("topic", &self.topic)] {
            if text.trim().is_empty() {
                faults.push((key, "is empty".into()));
            }
        }
        if !(0.0..=1.0).contains(&self.max_bad) {
            faults.push(("max_bad", format!("{} is not from 0 to 1", self.max_bad)));
        }
        if self.buffer_bytes == 0 {
            faults.push(("buffer_bytes", "nothing could wait in 0 bytes".into()));
        }
        if self.connect_timeout.is_zero() {
            faults.push(("connect_timeout", "no broker answers in no time".into()));
        }
        faults.extend(brokers::faults(&self.properties, &DECIDED).map(|reason| ("properties", reason)));
        faults
    }
}

/// A client, and the partitions that it found.
type Connected = (BaseConsumer<Ears>, Vec<i32>);

struct Kafka {
    options: Settings,
    format: Format,
    reading: Reading,
    /// Until it fetches.
    connected: Option<Connected>,
    fetcher: Option<Fetcher>,
}

/// Makes the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let default = context.state.clone().unwrap_or_default().join("dead-letter.jsonl");
    let letters = DeadLetters::new(options.dead_letter.clone().unwrap_or(default));
    Ok(Box::new(Kafka {
        format: options.look().format(),
        reading: Reading::new(options.topic.clone(), options.max_bad, letters),
        options,
        connected: None,
        fetcher: None,
    }))
}

impl Kafka {
    /// Finds the brokers and the topic.
    fn connect(&self) -> Result<Connected> {
        let Settings { brokers, topic, connect_timeout, .. } = &self.options;
        let mut config =
            brokers::config(brokers, &self.options.properties, self.options.properties_file.as_ref())?;
        for (key, value) in USUAL {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "error").set("enable.partition.eof", "false");
        let consumer: BaseConsumer<Ears> = config
            .create_with_context(Ears::default())
            .map_err(|error| Error::Request(format!("source.properties: {error}")))?;
        match fetch::partitions(&consumer, topic, *connect_timeout) {
            Ok(Some(partitions)) => Ok((consumer, partitions)),
            Ok(None) => Err(Error::Request(format!("the brokers at {brokers} have no topic `{topic}`"))),
            Err(error) => {
                consumer.poll(Duration::from_millis(100)); // hears why
                let waited = humantime_serde::re::humantime::format_duration(*connect_timeout);
                Err(Error::Request(format!(
                    "no broker at {brokers} told of topic `{topic}` within {waited}: {}; see that \
                     source.brokers is right",
                    consumer.context().reason(&error)
                )))
            }
        }
    }

    /// Begins to fetch, unless that is so already.
    fn begin(&mut self) -> Result<()> {
        if self.fetcher.is_some() {
            return Ok(());
        }
        let (consumer, partitions) = match self.connected.take() {
            Some(connected) => connected,
            None => self.connect()?,
        };
        let anew = self.reading.next().is_empty();
        for partition in partitions {
            if self.reading.next().contains_key(&partition) {
                continue;
            }
            let (topic, patience) = (&self.options.topic, self.options.connect_timeout);
            let bounds = consumer.fetch_watermarks(topic, partition, patience);
            let (low, high) = bounds.map_err(|error| {
                Error::Request(format!(
                    "topic `{topic}`: cannot find where partition {partition} is: {error}"
                ))
            })?;
            let first = if anew && self.options.start == Start::Latest { high } else { low };
            self.reading.meet(partition, first);
        }
        self.fetcher = Some(Fetcher::start(Plan {
            consumer,
            topic: self.options.topic.clone(),
            next: self.reading.next().clone(),
            decoder: Decoder { encoding: self.options.encoding, format: self.format.clone() },
            buffer_bytes: self.options.buffer_bytes,
            on_gap: self.options.on_gap,
            patience: self.options.connect_timeout,
        })?);
        Ok(())
    }
}

impl Source for Kafka {
    fn format(&self) -> &Format {
        &self.format
    }

    fn labelled(&mut self) -> Result<Labelled> {
        Ok(Labelled { values: Values::none(self.format.dtype), classes: Vec::new() })
    }

    fn held_out(&self, _limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        Ok(None)
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn has_own_ids(&self) -> bool {
        self.options.encoding == Encoding::Ndjson
    }

    fn open(&mut self, _live: &Live, _stream: u16) -> Result<()> {
        self.connected = Some(self.connect()?);
        Ok(())
    }

    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<Progress> {
        self.begin()?;
        match &self.fetcher {
            Some(fetcher) => self.reading.read(count, &mut *fetcher.ahead()?, samples),
            None => Ok(Progress::NotYet),
        }
    }

    fn note(&mut self) -> Vec<u8> {
        self.reading.note()
    }

    fn replay(&mut self, note: &[u8]) -> Result<()> {
        if self.reading.replay(note)? {
            self.fetcher = None; // the next read fetches from where they begin
        }
        Ok(())
    }

    fn snapshot(&self) -> Vec<u8> {
        self.reading.snapshot()
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        self.fetcher = None;
        self.reading.restore(state)
    }

    fn dead_letters(&self) -> u64 {
        self.reading.dead_letters()
    }
}
