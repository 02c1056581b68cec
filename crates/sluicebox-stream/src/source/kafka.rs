//! A Kafka topic as a source. A topic can be read again, so its samples are not copied to the
//! write-ahead log: a checkpoint holds the next offset of each partition, and no offsets are
//! committed to the brokers. Partitions are read as messages arrive; the step journal records the
//! order, so that a step can be repeated.

mod fetch;
mod message;
mod reading;
mod topic;

use crate::ingest::IngestContext;
use crate::kafka_client as brokers;
use crate::kafka_client::Properties;
use crate::source::api::{Context, HeldOut, Progress, Source};
use crate::source::dead_letter::DeadLetters;
use crate::source::logged::Look;
use fetch::Fetcher;
use message::{Decoder, Encoding};
use reading::Reading;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Dtype, Format, Labelled, Samples, Values};
use std::path::PathBuf;
use std::time::Duration;
use topic::{DECIDED, Topic};

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Bootstrap brokers: `host:port`, comma-separated.
    pub brokers: String,
    /// Name of the topic.
    pub topic: String,
    /// Encoding of a sample in a message.
    pub encoding: Encoding,
    /// `[features]`, or `[channels, height, width]`.
    pub shape: Vec<usize>,
    /// `u8` or `f32`.
    pub dtype: Dtype,
    /// Factor from a value to the model's input; by default 1/255 for u8 and 1 for f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f32>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Position at which a new job starts to read.
    #[serde(default)]
    pub start: Start,
    /// Reaction to messages that were deleted before they were read.
    #[serde(default)]
    pub on_gap: OnGap,
    /// Bytes of samples that may wait to be read, over all partitions.
    #[serde(default = "sixty_four_mib")]
    pub buffer_bytes: usize,
    /// Longest wait for the brokers to answer at the start.
    #[serde(default = "ten_seconds", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Largest fraction of messages that may be bad.
    #[serde(default = "one_percent")]
    pub max_bad: f64,
    /// File that lists bad messages; by default `dead-letter.jsonl` in the state folder or the
    /// current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<PathBuf>,
    /// File of further librdkafka settings, one `key=value` per line; for secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties_file: Option<PathBuf>,
    /// Further librdkafka settings, such as `security.protocol`.
    #[serde(default, skip_serializing_if = "Properties::is_empty")]
    pub properties: Properties,
}

/// Position at which a new job starts to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At the oldest message of each partition.
    #[default]
    Earliest,
    /// At the messages that arrive from now on.
    Latest,
}

/// Reaction to messages that were deleted before they were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnGap {
    /// The job fails and reports how many are missing.
    #[default]
    Fail,
    /// The job continues after them, with a warning.
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

impl Settings {
    fn look(&self) -> Look {
        let (shape, classes) = (self.shape.clone(), self.classes.clone());
        Look { shape, dtype: self.dtype, scale: self.scale, classes }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
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

struct Kafka {
    options: Settings,
    format: Format,
    reading: Reading,
    /// The topic and its partitions, until fetching begins.
    reached: Option<(Topic, Vec<i32>)>,
    fetcher: Option<Fetcher>,
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let default = context.dead_letters();
    let letters = DeadLetters::new(options.dead_letter.clone().unwrap_or(default));
    Ok(Box::new(Kafka {
        format: options.look().format(),
        reading: Reading::new(options.topic.clone(), options.max_bad, letters),
        options,
        reached: None,
        fetcher: None,
    }))
}

impl Kafka {
    /// Begins to fetch, if fetching has not begun.
    fn begin(&mut self) -> Result<()> {
        if self.fetcher.is_some() {
            return Ok(());
        }
        let (topic, partitions) = match self.reached.take() {
            Some(reached) => reached,
            None => Topic::reach(&self.options)?,
        };
        let anew = self.reading.next().is_empty();
        for partition in partitions {
            if self.reading.next().contains_key(&partition) {
                continue;
            }
            let Some(bounds) = topic.bounds(partition)? else {
                return Err(topic.fault(format!("no broker tells where partition {partition} begins")));
            };
            let latest = anew && self.options.start == Start::Latest;
            self.reading.meet(partition, if latest { bounds.high } else { bounds.low });
        }
        let decoder = Decoder { encoding: self.options.encoding, format: self.format.clone() };
        let next = self.reading.next().clone();
        self.fetcher = Some(Fetcher::start(topic, next, decoder, self.options.buffer_bytes)?);
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

    fn knows_classes(&self) -> bool {
        false
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

    fn open(&mut self, _live: &IngestContext, _stream: u16) -> Result<()> {
        self.reached = Some(Topic::reach(&self.options)?);
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
            self.fetcher = None; // the next read fetches from where the runs begin
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

    fn reasons(&self) -> Vec<(String, u64)> {
        self.reading.reasons()
    }
}
