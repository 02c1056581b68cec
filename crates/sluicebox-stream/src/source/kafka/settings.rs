//! Options of the Kafka source.

use crate::decode::{self, Keys, Missing, missing, table};
use crate::kafka_client;
use crate::kafka_client::Properties;
use crate::source::bad_records;
use crate::source::bad_records::one_percent;
use crate::source::filled;
use crate::source::kafka::message::Encoding;
use crate::source::kafka::place::Place;
use crate::source::sample_format::SampleFormatOptions;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::document;
use sluicebox_core::sample::Dtype;
use std::collections::BTreeMap;
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
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Bootstrap brokers: `host:port`, comma-separated.
    pub brokers: String,
    /// Name of the topic.
    pub topic: String,
    /// Encoding of a sample in a message.
    pub encoding: Encoding,
    /// Where the id of a sample is: `value`, `key` or `header:NAME`.
    #[serde(default, skip_serializing_if = "Place::is_value")]
    #[schemars(!skip_serializing_if)]
    pub id: Place,
    /// Where the label of a sample is: `value`, `key` or `header:NAME`.
    #[serde(default, skip_serializing_if = "Place::is_value")]
    #[schemars(!skip_serializing_if)]
    pub label: Place,
    /// `[features]`, or `[channels, height, width]`.
    pub shape: Vec<usize>,
    /// `u8` or `f32`.
    pub dtype: Dtype,
    /// Factor from a value to the model's input; by default 1/255 for u8 and 1 for f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Keys of the features in JSON, or their fields in Avro, in the order of the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub features: Vec<table::Column>,
    /// Key of the class in JSON or Avro; by default `label`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_column: Option<table::Column>,
    /// Key of the id in JSON or Avro; by default `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_column: Option<table::Column>,
    /// Keys in JSON or Avro that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub ignore: Vec<table::Column>,
    /// Columns of categories: a table of columns with their categories, or with a number of values to hash them into.
    #[serde(default, skip_serializing_if = "table::Categorical::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub categorical: table::Categorical,
    /// What is done with a sample of which a feature is missing.
    #[serde(default, skip_serializing_if = "Missing::is_drop")]
    #[schemars(!skip_serializing_if)]
    pub missing: Missing,
    /// Texts that stand for a missing feature, or for a class that is not known; upper or lower case.
    #[serde(default = "missing::missing_markers", skip_serializing_if = "missing::are_usual_markers")]
    #[schemars(!skip_serializing_if)]
    pub missing_markers: Vec<String>,
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
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// Longest wait for the schema registry to answer, each time that it is needed.
    #[serde(default = "five_minutes", with = "humantime_serde", skip_serializing_if = "is_five_minutes")]
    #[schemars(!skip_serializing_if)]
    #[schemars(with = "String")]
    pub registry_timeout: Duration,
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
    #[schemars(!skip_serializing_if)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub properties: Properties,
}

/// Position at which a new job starts to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At the oldest message of each partition.
    #[default]
    Earliest,
    /// At the messages that arrive from now on.
    Latest,
}

/// Reaction to messages that were deleted before they were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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
fn five_minutes() -> Duration {
    Duration::from_secs(300)
}
fn is_five_minutes(wait: &Duration) -> bool {
    *wait == five_minutes()
}

impl Settings {
    /// Returns the options of decoding.
    pub fn decoding(&self) -> decode::Options {
        let Settings { features, class_column: class, id_column: id, ignore, .. } = self.clone();
        let Settings { categorical, missing, missing_markers, .. } = self.clone();
        let named = table::Options { features, class, id, ignore, ..table::Options::default() };
        let table = table::Options { categorical, missing, missing_markers, ..named };
        decode::Options { table, ..decode::Options::default() }
    }

    /// Returns the options that describe the samples.
    pub fn sample_format(&self) -> SampleFormatOptions {
        let (shape, classes) = (self.shape.clone(), self.classes.clone());
        SampleFormatOptions { shape, dtype: self.dtype, scale: self.scale, classes }
    }
}

impl document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.sample_format().faults();
        let table = self.decoding().table;
        faults.extend(table.faults());
        faults.extend(self.categorical.not_found());
        faults.extend(filled::fault(self.missing, Some(self.dtype)));
        faults.extend(Keys::faults(&table, &self.sample_format().format()));
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
        if self.encoding == Encoding::Avro
            && self.properties_file.is_none()
            && !kafka_client::names_registry(&self.properties)
        {
            let reason = "schema.registry.url is missing, which encoding = \"avro\" needs";
            faults.push(("properties", reason.into()));
        }
        faults
    }

    fn changeable() -> &'static [&'static str] {
        &[
            "brokers",
            "on_gap",
            "buffer_bytes",
            "connect_timeout",
            "registry_timeout",
            "ignore",
            "max_bad",
            "dead_letter",
            "properties_file",
            "properties",
        ]
    }
}
