//! What lines of JSON say of their samples: arrays, records with `values`, or records of numbers by name.

use super::arguments::Init;
use serde_json::Value;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Dtype;
use sluicebox_stream::decode::packed;
use std::collections::BTreeSet;
use std::io::{BufRead, Read};
use std::path::Path;

/// Lines that are looked at.
const LINES: usize = 1000;
/// Bytes that are looked at.
const BYTES: u64 = 64 << 20;
/// Keys that name the class of a record, unless another is given.
const CLASS_KEYS: [&str; 4] = ["label", "class", "target", "y"];
/// Largest value of pixels that are not of the full range of bytes.
const DARK: f64 = 127.0;

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    /// Shape of a sample; empty where it is not known.
    pub shape: Vec<usize>,
    /// Type of its values.
    pub dtype: Option<Dtype>,
    /// Factor that brings the largest value to 1, where bytes do not use their range.
    pub scale: Option<f64>,
    /// Keys of the values, of records by name.
    pub features: Vec<String>,
    /// Key of the class, unless it is `label`.
    pub class: Option<String>,
    /// Names of the classes that were met.
    pub classes: Vec<String>,
}

/// Looks at the first lines of a file.
pub fn look(path: &Path, arguments: &Init) -> Result<Found> {
    let fault = |reason: String| Error::file(path, reason);
    let content = packed::open(path, 0).map_err(|error| fault(error.to_string()))?;
    let lines = content.take(BYTES).lines().take(LINES);
    let mut seen = Seen { class: arguments.class_column.clone(), ..Seen::default() };
    for (at, line) in lines.enumerate() {
        let line = line.map_err(|error| fault(format!("line {}: {error}", at + 1)))?;
        if !line.trim().is_empty() {
            let value = serde_json::from_str(&line);
            seen.add(value.map_err(|error| fault(format!("line {}: not JSON: {error}", at + 1)))?, arguments);
        }
    }
    let mut found = seen.found();
    if !arguments.shape.is_empty() {
        found.shape = arguments.shape.clone();
    }
    if found.shape.is_empty() {
        return Err(fault("its first lines hold no numbers: expected arrays, or objects of numbers".into()));
    }
    if found.shape.len() == 1 {
        (found.dtype, found.scale) = (Some(Dtype::F32), None); // numbers that are no pixels are standardised
    }
    Ok(found)
}

#[derive(Default)]
struct Seen {
    shape: Vec<usize>,
    features: Vec<String>,
    class: Option<String>,
    classes: BTreeSet<String>,
    largest: f64,
    no_bytes: bool,
}

impl Seen {
    fn add(&mut self, value: Value, arguments: &Init) {
        match value {
            Value::Array(_) => self.values(&value),
            Value::Object(record) => {
                let key = self.class.clone().or_else(|| {
                    CLASS_KEYS.iter().find(|key| record.contains_key(**key)).map(|key| key.to_string())
                });
                if let Some(label) = key.as_ref().and_then(|key| record.get(key)).and_then(class) {
                    self.classes.insert(label);
                }
                self.class = self.class.take().or(key);
                if let Some(values) = record.get("values") {
                    return self.values(values);
                }
                let mut names = Vec::new();
                numbers(&Value::Object(record), "", &mut names);
                let skipped = |name: &String| {
                    name == "id" || Some(name) == self.class.as_ref() || arguments.ignore.contains(name)
                };
                names.retain(|name| !skipped(name));
                if self.features.is_empty() {
                    self.features = names;
                }
            }
            _ => {}
        }
    }

    fn values(&mut self, values: &Value) {
        let mut sizes = Vec::new();
        let mut inner = values;
        while let Some(items) = inner.as_array() {
            sizes.push(items.len());
            inner = items.first().unwrap_or(&Value::Null);
        }
        if sizes.len() == 2 {
            sizes.insert(0, 1); // rows of pixels
        }
        self.shape = sizes;
        self.numbers(values);
    }

    fn numbers(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.numbers(item)),
            number => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                self.no_bytes |= !((0.0..=255.0).contains(&number) && number.fract() == 0.0);
                self.largest = self.largest.max(number);
            }
        }
    }

    fn found(self) -> Found {
        let bytes = !self.no_bytes && !self.shape.is_empty();
        let dark = bytes && self.largest > 0.0 && self.largest <= DARK;
        let mut classes: Vec<String> = self.classes.into_iter().collect();
        if classes.iter().all(|name| name.parse::<i64>().is_ok()) {
            classes.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
        }
        Found {
            shape: if self.features.is_empty() { self.shape } else { vec![self.features.len()] },
            dtype: Some(if bytes { Dtype::U8 } else { Dtype::F32 }),
            scale: dark.then(|| 1.0 / self.largest),
            features: self.features,
            class: self.class.filter(|name| name != "label"),
            classes,
        }
    }
}

/// Returns a class as a label names it.
fn class(value: &Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Adds the names of the numbers in a record, those of inner records with dots.
fn numbers(value: &Value, path: &str, names: &mut Vec<String>) {
    match value {
        Value::Object(record) => {
            for (key, value) in record {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                numbers(value, &path, names);
            }
        }
        Value::Number(_) => names.push(path.into()),
        _ => {}
    }
}
