//! Options of a source of files in order.

use crate::decode::missing;
use crate::decode::table;
use crate::decode::text_encoding::TextEncoding;
use crate::decode::{self, Missing};
use crate::source::bad_records;
use crate::source::bad_records::one_percent;
use crate::source::blocks::{block, twenty_five, yes};
use crate::source::files::paths::Paths;
use crate::source::filled;
use crate::source::sample_format::{SampleFormatOptions, scale_fault};
use crate::source::wanted::InAll;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::at_least;
use sluicebox_core::sample::Dtype;
use std::path::PathBuf;

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Files of the stream, one after the other: a file, a folder (all files in it that are read, by name), a pattern
    /// such as `data/train-*.parquet`, or a list of these.
    pub path: Paths,
    /// Files for evaluation, in the same forms; they are not streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Paths>,
    /// `[features]`, or `[channels, height, width]`; by default that of the first file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub shape: Vec<usize>,
    /// `u8` or `f32`; by default that of the first file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<Dtype>,
    /// Factor from a value to the model's input; by default 1/255 for u8 and 1 for f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Names of the classes; by default those that the first file lists, or else those of its records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub classes: Vec<String>,
    /// Labelled samples per class, or as many as a class has.
    #[serde(default = "twenty_five")]
    pub labelled_per_class: usize,
    /// Labelled samples in all, of the classes as the data has them, or `"all"` whose class is known; in place of
    /// `labelled_per_class`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled: Option<InAll>,
    /// Samples that are decoded and shuffled together.
    #[serde(default = "block")]
    pub shuffle_buffer: usize,
    /// Whether to start again at the end of the last file, for ever. Where nothing is repeated, samples keep the ids
    /// that the records name.
    #[serde(default = "yes")]
    pub repeat: bool,
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
    /// Columns of categories: a table of columns with their categories, or with a number of values to hash them into. Of
    /// Parquet and Arrow also a list of columns, whose categories are those of the first file.
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
    /// Largest fraction of records that may be bad; a file that cannot be read further counts as one record.
    #[serde(default = "one_percent")]
    pub max_bad: f64,
    /// File for bad records; by default `dead-letter.jsonl` in the state folder or the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<PathBuf>,
}

impl Settings {
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
        let mut faults = Vec::new();
        if self.path.is_empty() {
            faults.push(("path", "it names no file".into()));
        }
        faults.extend(self.path.refused().map(|reason| ("path", reason)));
        if !self.shape.is_empty() {
            faults.extend(SampleFormatOptions::shape_fault(&self.shape));
        }
        if self.classes.len() == 1 {
            faults.push(("classes", "a job needs two classes or more".into()));
        }
        faults.extend(scale_fault(self.scale));
        faults.extend(InAll::fault(self.labelled));
        at_least(&mut faults, "shuffle_buffer", self.shuffle_buffer, 1);
        faults.extend(bad_records::faults(self.max_bad));
        faults.extend(self.table().faults());
        faults.extend(filled::fault(self.missing, self.dtype));
        faults
    }

    fn changeable() -> &'static [&'static str] {
        &["path", "test", "max_bad", "dead_letter"]
    }
}
