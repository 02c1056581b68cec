//! How the rows of a table are read.

use crate::decode::missing::{Missing, is_missing, missing_markers};
use crate::decode::table::categorical::{Categorical, MOST_VALUES};
use crate::decode::table::column::Column;
use crate::decode::table::number::number;
use crate::decode::text_encoding::TextEncoding;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// Options of reading a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Character between columns.
    pub delimiter: char,
    /// Character before the fraction of a number: `.` or `,`.
    pub decimal: char,
    /// Whether the first row is a header.
    pub header: Header,
    /// Column of the class. By default a header's `label`, `class`, `target` or `y`.
    pub class: Option<Column>,
    /// Column of the id. By default a header's `id`.
    pub id: Option<Column>,
    /// Columns of the values, in this order. Empty: all other columns.
    pub features: Vec<Column>,
    /// Columns that are not read.
    pub ignore: Vec<Column>,
    /// First character of lines that are comments.
    pub comment: Option<char>,
    /// Encoding of the text.
    pub encoding: TextEncoding,
    /// Columns of categories.
    pub categorical: Categorical,
    /// Categories up to which a column is one-hot; beyond, they are hashed into so many values.
    pub one_hot_max: usize,
    /// What is done with a row of which a value is missing.
    pub missing: Missing,
    /// Texts that stand for a missing value or class; upper or lower case.
    pub missing_markers: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            delimiter: comma(),
            decimal: '.',
            header: Header::Auto,
            class: None,
            id: None,
            features: Vec::new(),
            ignore: Vec::new(),
            comment: None,
            encoding: TextEncoding::Auto,
            categorical: Categorical::default(),
            one_hot_max: one_hot_max(),
            missing: Missing::Drop,
            missing_markers: missing_markers(),
        }
    }
}

impl Options {
    /// Returns the options that are out of range, each with a reason.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let delimiter = self.delimiter;
        if !delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r') {
            faults.push(("delimiter", format!("{delimiter:?} is not one ASCII character between columns")));
        }
        if !matches!(self.decimal, '.' | ',') {
            faults.push(("decimal", format!("{:?} is neither \".\" nor \",\"", self.decimal)));
        } else if self.decimal == delimiter {
            faults.push(("decimal", format!("{delimiter:?} is also the delimiter of columns")));
        }
        if let Some(comment) = self.comment
            && (!comment.is_ascii() || comment.is_ascii_whitespace() || [delimiter, '"'].contains(&comment))
        {
            faults.push(("comment", format!("{comment:?} is not one ASCII character that begins a comment")));
        }
        if !(1..=MOST_VALUES).contains(&self.one_hot_max) {
            let reason = format!("{} is not from 1 to {MOST_VALUES}", self.one_hot_max);
            faults.push(("one_hot_max", reason));
        }
        faults.extend(self.categorical.fault().map(|reason| ("categorical", reason)));
        faults.extend(self.named_twice());
        faults
    }

    /// Returns the fault of a column that is named for two purposes, or twice for one.
    fn named_twice(&self) -> Option<(&'static str, String)> {
        let (class, id) = (self.class.as_slice(), self.id.as_slice());
        let all = [("features", &self.features[..]), ("class", class), ("id", id), ("ignore", &self.ignore)];
        let all = all.into_iter().flat_map(|(key, columns)| columns.iter().map(move |column| (key, column)));
        let mut known: HashMap<&Column, &'static str> = HashMap::new();
        for (key, column) in all {
            if let Some(other) = known.insert(column, key).filter(|other| key != "ignore" || *other != key) {
                let twice = if other == key { "twice".into() } else { format!("in source.{other} as well") };
                return Some((key, format!("column {column} is named {twice}")));
            }
        }
        None
    }

    /// Returns whether a text is a finite number.
    pub fn is_number(&self, text: &[u8]) -> bool {
        number(text, self.decimal).is_some()
    }

    /// Returns whether a text stands for a missing value.
    pub fn is_missing(&self, text: &[u8]) -> bool {
        is_missing(&self.missing_markers, text)
    }
}

/// The default of `one_hot_max`.
pub fn one_hot_max() -> usize {
    100
}

/// Returns whether `one_hot_max` is the default.
pub fn is_one_hot_max(most: &usize) -> bool {
    *most == one_hot_max()
}

/// The default of `delimiter`.
pub fn comma() -> char {
    ','
}

/// Whether the first row of a table is a header: `"auto"`, `true` or `false`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Header {
    /// It is one if none of its values is a number and not all are missing, or if it counts the columns from 0.
    #[default]
    Auto,
    /// It is one.
    Yes,
    /// It is none.
    No,
}

impl schemars::JsonSchema for Header {
    fn schema_name() -> Cow<'static, str> {
        "Header".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["auto", true, false] })
    }
}

impl Header {
    /// Returns whether the first row decides, which is the default.
    pub fn is_auto(&self) -> bool {
        *self == Header::Auto
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Header::Auto => serializer.serialize_str("auto"),
            Header::Yes => serializer.serialize_bool(true),
            Header::No => serializer.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOfThree)
    }
}

struct OneOfThree;

impl Visitor<'_> for OneOfThree {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\", true or false")
    }

    fn visit_bool<E: Error>(self, header: bool) -> Result<Header, E> {
        Ok(if header { Header::Yes } else { Header::No })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Header, E> {
        match text {
            "auto" => Ok(Header::Auto),
            other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
        }
    }
}
