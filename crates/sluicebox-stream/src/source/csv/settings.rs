//! Options of the source.

use crate::decode::Missing;
use crate::decode::missing;
use crate::decode::table;
use crate::decode::text_encoding::TextEncoding;
use crate::remote;
use crate::source::bad_records;
use crate::source::bad_records::one_percent;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Column of the class: its name, or its place from 0 (negative from the end). By default the column that a
    /// header names `label`, `class`, `target` or `y`, or else the last.
    #[serde(default, rename = "class_column", alias = "class", skip_serializing_if = "Option::is_none")]
    pub class: Option<table::Column>,
    /// Columns of the features, in this order; by default all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub features: Vec<table::Column>,
    /// Columns that are not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub ignore: Vec<table::Column>,
    /// Names of the classes, as in the file. Empty: the file is read once to find them.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Whether the first row is a header: `"auto"`, `true` or `false`.
    #[serde(default, skip_serializing_if = "table::Header::is_auto")]
    #[schemars(!skip_serializing_if)]
    pub header: table::Header,
    /// Column separator.
    #[serde(default = "table::comma")]
    pub delimiter: char,
    /// Character before the fraction of a number: `.` or `,`.
    #[serde(default = "point", skip_serializing_if = "is_point")]
    #[schemars(!skip_serializing_if)]
    pub decimal: char,
    /// First character of lines that are comments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<char>,
    /// Encoding of the text: `"auto"` (UTF-8, or UTF-16 with a mark), `"utf-16"` or `"latin-1"`.
    #[serde(default, skip_serializing_if = "TextEncoding::is_auto")]
    #[schemars(!skip_serializing_if)]
    pub encoding: TextEncoding,
    /// Columns of categories, beside those of which all values are texts: a list of columns whose categories are
    /// found, or a table of columns with their categories or with a number of values to hash them into.
    #[serde(default, skip_serializing_if = "table::Categorical::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub categorical: table::Categorical,
    /// Categories of a column up to which each is a value of its own; more are hashed into so many values.
    #[serde(default = "table::one_hot_max", skip_serializing_if = "table::is_one_hot_max")]
    #[schemars(!skip_serializing_if)]
    pub one_hot_max: usize,
    /// What is done with a row of which a feature is missing.
    #[serde(default, skip_serializing_if = "Missing::is_drop")]
    #[schemars(!skip_serializing_if)]
    pub missing: Missing,
    /// Texts that stand for a missing feature, or for a class that is not known; upper or lower case.
    #[serde(default = "missing::missing_markers", skip_serializing_if = "missing::are_usual_markers")]
    #[schemars(!skip_serializing_if)]
    pub missing_markers: Vec<String>,
    /// Number of rows, from the first, that are labelled. Those of them without a class are streamed.
    #[serde(default = "three_hundred")]
    pub labelled_first: usize,
    /// Transform of each feature.
    #[serde(default)]
    pub transform: Transform,
    /// Largest fraction of rows that may be bad.
    #[serde(default = "one_percent")]
    pub max_bad: f64,
    /// File for bad rows; by default `dead-letter.jsonl` in the state folder or the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<PathBuf>,
    /// Whether to start again at the end of the file, for ever.
    #[serde(default)]
    pub repeat: bool,
}

/// Transform of each feature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transform {
    /// No transform.
    #[default]
    None,
    /// sign(x) · ln(1 + |x|): for features that span many orders of magnitude.
    SignedLog1p,
}

impl Transform {
    /// Transforms a value.
    pub fn of(self, value: f64) -> f64 {
        match self {
            Transform::None => value,
            Transform::SignedLog1p => value.signum() * value.abs().ln_1p(),
        }
    }
}

fn point() -> char {
    '.'
}
fn is_point(decimal: &char) -> bool {
    *decimal == point()
}
fn three_hundred() -> usize {
    300
}

impl Settings {
    /// Returns how the table is read.
    pub fn table(&self) -> table::Options {
        table::Options {
            delimiter: self.delimiter,
            decimal: self.decimal,
            header: self.header,
            class: self.class.clone(),
            id: None,
            features: self.features.clone(),
            ignore: self.ignore.clone(),
            comment: self.comment,
            encoding: self.encoding,
            categorical: self.categorical.clone(),
            one_hot_max: self.one_hot_max,
            missing: self.missing,
            missing_markers: self.missing_markers.clone(),
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.table().faults();
        faults.extend(bad_records::faults(self.max_bad));
        if self.classes.len() == 1 {
            faults.push(("classes", "a job needs two classes or more".into()));
        }
        faults.extend(remote::refused(&self.path, false).map(|reason| ("path", reason)));
        faults
    }

    fn changeable() -> &'static [&'static str] {
        // A state is refused where another column gives other classes, and its default was written out as -1 before.
        &["path", "class_column", "max_bad", "dead_letter", "repeat"]
    }
}
