//! A sample of an archive, part by part: an image or an array, a class, and what JSON says of it.

use crate::decode::api::{Record, chosen};
use crate::decode::blank::trimmed;
use crate::decode::class_name::{class, given, plain};
use crate::decode::image::{self, image};
use crate::decode::json;
use crate::decode::keys::Keys;
use crate::decode::look::Look;
use crate::decode::npy;
use crate::decode::options::Options;
use crate::decode::table::Column;
use crate::decode::tar::said::Said;
use crate::decode::together;
use serde::Deserialize;
use sluicebox_core::sample::{Dtype, Format, Shape, Values};
use sluicebox_core::sample_id::SampleId;

/// Column of the id by which a job asks for the keys as ids.
pub const KEY: &str = "__key__";
/// Maximum size of a member, in bytes.
const LARGEST: u64 = 64 << 20;
/// Maximum size of JSON, in bytes.
const LARGEST_JSON: u64 = 16 << 20;
/// Maximum size of a class, in bytes.
const LARGEST_CLASS: u64 = 1 << 10;

/// What a member of a sample is, by the ending of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Values, of an image.
    Image,
    /// Values, of an array.
    Array,
    /// A class as text.
    Class,
    /// An object with `label` and `id`, or values as well.
    Json,
}

impl Part {
    /// Returns what a member is; None if it is not read. An ending of several parts, such as `seg.png`, is not read.
    pub fn of(ending: &str) -> Option<Part> {
        Some(match ending {
            "npy" => Part::Array,
            "cls" => Part::Class,
            "json" => Part::Json,
            image if image::ENDINGS.contains(&image) => Part::Image,
            _ => return None,
        })
    }

    /// Returns how many bytes it may have.
    pub fn most_bytes(self) -> u64 {
        match self {
            Part::Image | Part::Array => LARGEST,
            Part::Class => LARGEST_CLASS,
            Part::Json => LARGEST_JSON,
        }
    }
}

/// Parts of a sample.
pub struct Sample {
    /// Key of the sample.
    pub key: String,
    /// Its members so far, also those that are not read.
    pub members: usize,
    /// Values as they are stored, and the ending of their name.
    values: Option<(Part, String, Vec<u8>)>,
    class: Option<Vec<u8>>,
    json: Option<Vec<u8>>,
    /// Why the sample is bad.
    fault: Option<String>,
}

impl Sample {
    /// Creates a sample without parts.
    pub fn new(key: &str) -> Self {
        Self { key: key.into(), members: 0, values: None, class: None, json: None, fault: None }
    }

    /// Returns whether the sample is known to be bad.
    pub fn is_bad(&self) -> bool {
        self.fault.is_some()
    }

    /// Makes the sample bad.
    pub fn spoil(&mut self, reason: String) {
        self.fault.get_or_insert(reason);
    }

    /// Adds a part, whose name ends in `ending`.
    pub fn add(&mut self, part: Part, ending: String, content: Vec<u8>) {
        let before = match part {
            Part::Image | Part::Array => {
                let before = self.values.as_ref().map(|(_, before, _)| before.clone());
                self.values.get_or_insert((part, ending.clone(), content));
                before
            }
            Part::Class => self.class.replace(content).map(|_| ending.clone()),
            Part::Json => self.json.replace(content).map(|_| ending.clone()),
        };
        match before {
            Some(before) if before == ending => self.spoil(format!("it has two members `.{ending}`")),
            Some(before) => self.spoil(format!("it has values twice: `.{before}` and `.{ending}`")),
            None => {}
        }
    }

    /// Returns the shape and type of its values.
    pub fn look(&self) -> Result<(Shape, Dtype), String> {
        match (&self.fault, &self.values) {
            (Some(fault), _) => Err(fault.clone()),
            (None, Some((Part::Array, _, array))) => Look::of_array(npy::one(&array[..])).sample,
            (None, Some((_, _, bytes))) => Ok((image::shape(bytes)?, Dtype::U8)),
            (None, None) => Err("it has no image and no `.npy`".into()),
        }
    }

    /// Returns the bytes that it takes, encoded and decoded.
    pub fn cost(&self) -> u64 {
        match &self.values {
            Some((Part::Image, _, bytes)) => together::cost(bytes),
            Some((_, _, bytes)) => 2 * bytes.len() as u64,
            None => 0,
        }
    }

    /// Decodes the sample.
    pub fn record(&self, format: &Format, options: &Options, keys: &Keys) -> Result<Record, String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let (mut record, from_json) = match (&self.values, &self.json) {
            (Some((Part::Array, _, array)), _) => {
                (unnamed(npy::sample(array, format).map_err(of("npy"))?), false)
            }
            (Some((_, ending, bytes)), _) => {
                (unnamed(image(bytes, format, options).map_err(of(ending))?), false)
            }
            (None, Some(json)) if has_values(json) => {
                (json::sample(json, format, keys).map_err(of("json"))?, true)
            }
            (None, _) => return Err("it has no image, no `.npy`, and no `.json` with values".into()),
        };
        if let Some(json) = self.json.as_ref().filter(|_| !from_json) {
            let said = Said::of(json, keys).map_err(of("json"))?;
            let class = said.class.map(|name| not_unknown(name, format, options)).transpose();
            record.class = class.map_err(of("json"))?.flatten();
            record.id = said.id.map(chosen).transpose().map_err(of("json"))?;
        }
        if let Some(text) = &self.class {
            let name = class_in(text, format, options).map_err(of("cls"))?;
            match (&record.class, &name) {
                (Some(other), Some(name)) if !is_same(format, other, name) => {
                    return Err(format!("`.cls` says `{name}`, but `.json` says `{other}`"));
                }
                (None, Some(_)) => record.class = name,
                _ => {}
            }
        }
        if options.table.id == Some(Column::Name(KEY.into())) {
            record.id = Some(SampleId::quoted(&self.key).map_err(|reason| format!("as an id: {reason}"))?);
        }
        Ok(record)
    }
}

fn unnamed(values: Values) -> Record {
    Record { id: None, values, class: None }
}

fn of(ending: &str) -> impl Fn(String) -> String {
    move |reason| format!("`.{ending}`: {reason}")
}

/// Reads the class that a member holds; None if it says that it is not known.
fn class_in(text: &[u8], format: &Format, options: &Options) -> Result<Option<String>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no UTF-8 text".to_string())?;
    let name = trimmed(text);
    if name.contains('\n') {
        return Err("it has several lines; one class is needed".into());
    }
    not_unknown(name.to_string(), format, options)
}

/// Returns a class; None if it says that it is not known.
fn not_unknown(name: String, format: &Format, options: &Options) -> Result<Option<String>, String> {
    match name == "-1" && class(&format.classes, &name).is_err() {
        true => Ok(None),
        false => given(format, &options.table.missing_markers, name),
    }
}

fn is_same(format: &Format, one: &str, other: &str) -> bool {
    match format.classes.is_empty() {
        true => plain(one) == plain(other),
        false => class(&format.classes, one) == class(&format.classes, other),
    }
}

/// Returns whether JSON is an array, or an object with values.
fn has_values(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Valued {
        values: Option<serde::de::IgnoredAny>,
        base64: Option<serde::de::IgnoredAny>,
    }
    json.trim_ascii_start().starts_with(b"[")
        || said::<Valued>(json).is_ok_and(|found| found.values.is_some() || found.base64.is_some())
}

fn said<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    let text = std::str::from_utf8(json).map_err(|error| format!("not UTF-8: {error}"))?;
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| error.to_string())
}
