//! Options of a source that follows a folder.

use crate::decode::missing;
use crate::decode::table;
use crate::decode::text_encoding::TextEncoding;
use crate::decode::{self, Missing};
use crate::remote;
use crate::source::bad_records;
use crate::source::bad_records::one_percent;
use crate::source::filled;
use crate::source::sample_format::SampleFormatOptions;
use serde::{Deserialize, Serialize};
use sluicebox_core::sample::Dtype;
use std::path::PathBuf;
use std::time::Duration;

/// Default interval between scans.
const POLL: Duration = Duration::from_millis(500);
/// Default interval between scans of a folder of an object store.
const POLL_ELSEWHERE: Duration = Duration::from_secs(10);

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder to read.
    pub path: PathBuf,
    /// `[features]`, or `[channels, height, width]`.
    pub shape: Vec<usize>,
    /// `u8` or `f32`.
    pub dtype: Dtype,
    /// Factor from a value to the model's input; by default 1/255 for u8 and 1 for f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Names of the classes; by default those of the folders in `path` that hold files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub classes: Vec<String>,
    /// Labelled samples per class: images that are in the subfolders named after the classes when
    /// the job starts.
    #[serde(default)]
    pub labelled_per_class: usize,
    /// Folder with files for evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Whether to look for new files for ever; otherwise the stream ends when all files are read.
    #[serde(default = "yes")]
    pub follow: bool,
    /// Order of files that become complete at the same time.
    #[serde(default)]
    pub order: Order,
    /// Time without changes after which a file is complete.
    #[serde(default = "one_second", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub settle: Duration,
    /// Shortest interval between scans of the folder; by default half a second, or 10 seconds for a folder of an object
    /// store, where each scan is paid for.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub poll: Option<Duration>,
    /// Whether to resize images of another size (triangle filter) instead of refusing them.
    #[serde(default)]
    pub resize: bool,
    /// Colour behind the transparent parts of images: `white`, `grey`, `black` or `#rrggbb`.
    #[serde(default, skip_serializing_if = "decode::Background::is_white")]
    #[schemars(!skip_serializing_if)]
    pub background: decode::Background,
    /// Column of the class: its name in the header, or its place from 0 (negative from the end). By default the one that
    /// a header names `label`, `class`, `target` or `y`.
    #[serde(default, rename = "class_column", alias = "class", skip_serializing_if = "Option::is_none")]
    pub class: Option<table::Column>,
    /// Column of the id, by name or place; by default a header's `id`.
    #[serde(default, rename = "id_column", alias = "id", skip_serializing_if = "Option::is_none")]
    pub id: Option<table::Column>,
    /// Columns of the values, in this order, by name or place; by default all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub features: Vec<table::Column>,
    /// Columns that are not read, by name or place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub ignore: Vec<table::Column>,
    /// Whether the first row of a table is a header: `"auto"`, `true` or `false`.
    #[serde(default, skip_serializing_if = "table::Header::is_auto")]
    #[schemars(!skip_serializing_if)]
    pub header: table::Header,
    /// Character between the columns of a table.
    #[serde(default = "table::comma")]
    pub delimiter: char,
    /// First character of the lines of a table that are comments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<char>,
    /// Encoding of a text: `"auto"` (UTF-8, or UTF-16 with a mark), `"utf-16"` or `"latin-1"`.
    #[serde(default, skip_serializing_if = "TextEncoding::is_auto")]
    #[schemars(!skip_serializing_if)]
    pub encoding: TextEncoding,
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
    /// Largest fraction of records that may be bad; a file that cannot be read counts as one
    /// record.
    #[serde(default = "one_percent")]
    pub max_bad: f64,
    /// File for bad records; by default `dead-letter.jsonl` in the state folder or the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<PathBuf>,
}

/// Order of files that became complete together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By modification time, then by name.
    #[default]
    Time,
    /// By name.
    Name,
    /// Shuffled with the job's seed: for sets that are stored class by class.
    Shuffled,
}

fn yes() -> bool {
    true
}
fn one_second() -> Duration {
    Duration::from_secs(1)
}

impl Settings {
    /// Returns the options that describe the samples.
    pub fn sample_format(&self) -> SampleFormatOptions {
        SampleFormatOptions {
            shape: self.shape.clone(),
            dtype: self.dtype,
            scale: self.scale,
            classes: self.classes.clone(),
        }
    }

    /// Returns the shortest interval between scans.
    pub fn poll(&self) -> Duration {
        self.poll.unwrap_or(if remote::is_url(&self.path) { POLL_ELSEWHERE } else { POLL })
    }

    /// Returns the options of decoding.
    pub fn decoding(&self) -> decode::Options {
        decode::Options { resize: self.resize, background: self.background, table: self.table() }
    }

    fn table(&self) -> table::Options {
        table::Options {
            delimiter: self.delimiter,
            header: self.header,
            class: self.class.clone(),
            id: self.id.clone(),
            features: self.features.clone(),
            ignore: self.ignore.clone(),
            comment: self.comment,
            encoding: self.encoding,
            categorical: self.categorical.clone(),
            missing: self.missing,
            missing_markers: self.missing_markers.clone(),
            ..table::Options::default()
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.sample_format().faults();
        faults.retain(|(key, _)| *key != "classes" || !self.classes.is_empty());
        faults.extend(bad_records::faults(self.max_bad));
        faults.extend(self.table().faults());
        faults.extend(self.categorical.not_found());
        faults.extend(filled::fault(self.missing, Some(self.dtype)));
        faults.extend(remote::refused(&self.path, true).map(|reason| ("path", reason)));
        let test = self.test.as_ref().and_then(|test| remote::refused(test, true));
        faults.extend(test.map(|reason| ("test", reason)));
        faults
    }

    fn changeable() -> &'static [&'static str] {
        &["path", "test", "follow", "settle", "poll", "max_bad", "dead_letter"]
    }
}
