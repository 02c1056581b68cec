//! Options of the Kafka source.

use crate::kafka_client;
use crate::kafka_client::Properties;
use crate::source::bad_records;
use crate::source::bad_records::one_percent;
use crate::source::kafka::message::{Encoding, IdFrom};
use crate::source::sample_format::SampleFormatOptions;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::document;
use sluicebox_core::sample::Dtype;
use std::path::PathBuf;
use std::time::Duration;

/// librdkafka settings that the source decides.
const DECIDED: [&str; 6] = [
    "bootstrap.servers",
    "client.id",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
];

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
    /// Where the id of a sample is.
    #[serde(default, skip_serializing_if = "IdFrom::is_value")]
    pub id: IdFrom,
    /// `[features]`, or `[channels, height, width]`.
    pub shape: Vec<usize>,
    /// `u8` or `f32`.
    pub dtype: Dtype,
    /// Factor from a value to the model's input; by default 1/255 for u8 and 1 for f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
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

impl Settings {
    /// Returns the options that describe the samples.
    pub fn sample_format(&self) -> SampleFormatOptions {
        let (shape, classes) = (self.shape.clone(), self.classes.clone());
        SampleFormatOptions { shape, dtype: self.dtype, scale: self.scale, classes }
    }
}

impl document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.sample_format().faults();
        for (key, text) in [("brokers", &self.brokers), ("topic", &self.topic)] {
            if text.trim().is_empty() {
                faults.push((key, "is empty".into()));
            }
        }
        faults.extend(bad_records::faults(self.max_bad));
        if self.buffer_bytes == 0 {
            faults.push(("buffer_bytes", "0 is too few: one message must fit".into()));
        }
        if self.connect_timeout.is_zero() {
            faults.push(("connect_timeout", "0 s is too short: the brokers need time to answer".into()));
        }
        faults.extend(kafka_client::faults(&self.properties, &DECIDED).map(|reason| ("properties", reason)));
        faults
    }

    fn changeable() -> &'static [&'static str] {
        &[
            "brokers",
            "on_gap",
            "buffer_bytes",
            "connect_timeout",
            "max_bad",
            "dead_letter",
            "properties_file",
            "properties",
        ]
    }
}
