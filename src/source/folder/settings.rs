//! What a job says of a folder that is followed.

use super::arrivals::Order;
use crate::decode;
use crate::samples::Dtype;
use crate::source::logged::Look;
use crate::source::tolerance::{self, one_percent};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The folder.
    pub path: PathBuf,
    /// `[features]`, or `[channels, height, width]`.
    pub shape: Vec<usize>,
    /// `u8` or `f32`.
    pub dtype: Dtype,
    /// A value times this is what the model sees; by default 1/255 for u8 and 1 for f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f32>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Labelled samples of each class: images that lie in the folders called like the classes
    /// when the job starts.
    #[serde(default)]
    pub labelled_per_class: usize,
    /// Folder with files for evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Go on looking for new files for ever; else the stream ends when all are read.
    #[serde(default = "yes")]
    pub follow: bool,
    /// In which order files that are complete at the same time are read.
    #[serde(default)]
    pub order: Order,
    /// A file is complete when it has not changed for so long.
    #[serde(default = "one_second", with = "humantime_serde")]
    pub settle: Duration,
    /// How often the folder is looked into, at most.
    #[serde(default = "half_a_second", with = "humantime_serde")]
    pub poll: Duration,
    /// Resize images of another size (triangle filter) instead of refusing them.
    #[serde(default)]
    pub resize: bool,
    /// Column of the class in CSV, from 0; negative counts from the end. By default the one
    /// that a header calls `label` or `class`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_column: Option<i64>,
    /// Column of the id in CSV. By default the one that a header calls `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_column: Option<i64>,
    /// What stands between columns in CSV.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// Largest part of the records that may be bad; a file that cannot be read is one.
    #[serde(default = "one_percent")]
    pub max_bad: f64,
    /// Where bad records go; by default `dead-letter.jsonl` in the state folder or here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<PathBuf>,
}

fn yes() -> bool {
    true
}
fn one_second() -> Duration {
    Duration::from_secs(1)
}
fn half_a_second() -> Duration {
    Duration::from_millis(500)
}
fn comma() -> char {
    ','
}

impl Settings {
    /// What the samples look like.
    pub fn look(&self) -> Look {
        Look {
            shape: self.shape.clone(),
            dtype: self.dtype,
            scale: self.scale,
            classes: self.classes.clone(),
        }
    }

    /// How files are decoded.
    pub fn decoding(&self) -> decode::Options {
        decode::Options {
            resize: self.resize,
            class_column: self.class_column,
            id_column: self.id_column,
            delimiter: self.delimiter,
        }
    }
}

impl crate::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.look().faults();
        faults.extend(tolerance::faults(self.max_bad));
        if !self.delimiter.is_ascii() {
            faults.push(("delimiter", format!("`{}` is not one ASCII character", self.delimiter)));
        }
        faults
    }
}
