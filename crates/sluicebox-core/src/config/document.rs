//! A job file as text with positions: parses it, applies `--set` overrides, and converts sections into types.
//! It collects every fault instead of stopping at the first. American spellings of keys are accepted.

use crate::config::finite::only_finite;
use crate::config::plain_words::in_words;
use crate::config::spelling::respell;
use crate::error::Fault;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// Sections that name a component by `kind`.
const WITH_KIND: [&str; 5] = ["source", "method", "model", "optimiser", "schedule"];

/// Longest name that a message shows whole, in characters.
const LONGEST_NAME: usize = 100;

/// A section of the document that a component reads: its table and its dotted path.
#[derive(Clone)]
pub struct Section<'t> {
    /// Dotted path, such as `views.strong[1]`.
    pub path: String,
    table: Spanned<DeTable<'t>>,
}

impl<'t> Section<'t> {
    /// Removes `key` from the section and returns it.
    fn take(&mut self, key: &str) -> Option<(Range<usize>, Spanned<DeValue<'t>>)> {
        let (name, value) = self.table.get_mut().remove_entry(key)?;
        Some((name.span(), value))
    }

    /// Drops `key` from the section.
    pub fn remove(&mut self, key: &str) {
        self.table.get_mut().remove(key);
    }

    /// Returns the remaining keys, in order.
    pub fn keys(&self) -> Vec<String> {
        self.table.get_ref().keys().map(|key| key.get_ref().to_string()).collect()
    }
}

/// Settings of a component, checked after they are typed. Their JSON Schema is part of `sluicebox schema`.
pub trait Settings: Serialize + DeserializeOwned + JsonSchema {
    /// Returns a `(key, reason)` for each value out of range.
    fn faults(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Returns the keys that a resumed job may change: they name a place or a bound, and its saved state
    /// does not depend on them. Asked of sources and models.
    fn changeable() -> &'static [&'static str] {
        &[]
    }
}

/// The text of a job and the faults found in it so far.
pub struct Document {
    name: String,
    text: String,
    overrides: Vec<(usize, String)>,
    faults: BTreeSet<(usize, String, String)>,
}

impl Document {
    /// Parses `text` (called `name` in messages) and applies `sets` (`a.b=c`). `texts` are the result of
    /// [`Document::texts`] for both.
    pub fn parse<'t>(name: &str, texts: &'t [String], sets: &[String]) -> (Self, Section<'t>) {
        let mut document = Self {
            name: name.to_string(),
            text: texts[0].clone(),
            overrides: Vec::new(),
            faults: BTreeSet::new(),
        };
        let mut root = Spanned::new(0..0, DeTable::new());
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                let start = text.len() - text.trim_start().len();
                document.overrides.push((start, sets[index - 1].clone()));
            }
            match DeTable::parse(text) {
                Ok(part) => {
                    let (mut part, mut faults) = (part.into_inner(), Vec::new());
                    respell(&mut part, "", &mut faults);
                    only_finite(&mut part, "", &mut faults);
                    faults.into_iter().for_each(|(at, key, reason)| document.fault_at(at, &key, reason));
                    lay_over(root.get_mut(), part);
                }
                Err(error) => {
                    let at = error.span().map_or(0, |span| span.start);
                    document.fault_at(at, "", error.message().to_string());
                }
            }
        }
        (document, Section { path: String::new(), table: root })
    }

    /// Returns the TOML of the file and of each `--set`. Each `--set` is preceded by as many spaces as the
    /// text before it is long, so that its spans do not overlap with earlier ones.
    pub fn texts(text: String, sets: &[String]) -> crate::error::Result<Vec<String>> {
        let mut start = text.len() + 1;
        let mut texts = vec![text];
        for set in sets {
            let Some((key, value)) = set.split_once('=') else {
                let reason = format!("--set needs key=value, such as stop.epochs=0, not `{set}`");
                return Err(crate::error::Error::Request(reason));
            };
            let value = value.trim();
            let typed = format!("{}{key} = {value}", " ".repeat(start));
            let bare = DeValue::parse(value).is_err();
            let quoted = toml::Value::String(value.to_string());
            let text = if bare { format!("{}{key} = {quoted}", " ".repeat(start)) } else { typed };
            start = text.len() + 1;
            texts.push(text);
        }
        Ok(texts)
    }

    /// Returns `file:line` of a byte, or the `--set` that it lies in.
    fn place(&self, byte: usize) -> String {
        match self.overrides.iter().rev().find(|(start, _)| byte >= *start) {
            Some((_, set)) => format!("--set {set}"),
            None => {
                let before = &self.text.as_bytes()[..byte.min(self.text.len())];
                format!("{}:{}", self.name, 1 + before.iter().filter(|b| **b == b'\n').count())
            }
        }
    }

    /// Records a fault at a byte of the document.
    fn fault_at(&mut self, byte: usize, key: &str, reason: String) {
        self.faults.insert((byte, key.to_string(), reason));
    }

    /// Records a fault of one of the section's keys, or of the section if it does not have the key.
    pub fn fault(&mut self, section: &Section<'_>, key: &str, reason: impl Into<String>) {
        let byte = match section.table.get_ref().get_key_value(key) {
            Some((name, _)) => name.span().start,
            None => section.table.span().start,
        };
        self.fault_at(byte, &join(&section.path, key), reason.into());
    }

    /// Returns all faults, in the order of the text.
    pub fn faults(self) -> Vec<Fault> {
        let placed = self.faults.iter();
        placed
            .map(|(byte, key, reason)| Fault {
                place: self.place(*byte),
                key: key.clone(),
                reason: reason.clone(),
            })
            .collect()
    }

    /// Takes the sub-section `key` out of `section`; an empty one if it is absent.
    pub fn section<'t>(&mut self, section: &mut Section<'t>, key: &str) -> Section<'t> {
        let path = join(&section.path, key);
        let at = section.table.span();
        match section.take(key) {
            None => Section { path, table: Spanned::new(at, DeTable::new()) },
            Some((name, value)) => self.table(path, name, value),
        }
    }

    /// Takes the table or the list of tables `key` out of `section`; an empty table if it is absent.
    pub fn one_or_more<'t>(&mut self, section: &mut Section<'t>, key: &str) -> Vec<Section<'t>> {
        let list = section.table.get_ref().get(key).is_some_and(|value| value.get_ref().is_array());
        match list {
            true => self.sections(section, key).unwrap_or_default(),
            false => vec![self.section(section, key)],
        }
    }

    /// Takes the list of tables `key` out of `section`; `None` if it is absent.
    pub fn sections<'t>(&mut self, section: &mut Section<'t>, key: &str) -> Option<Vec<Section<'t>>> {
        let path = join(&section.path, key);
        let (name, value) = section.take(key)?;
        let DeValue::Array(items) = value.into_inner() else {
            self.fault_at(name.start, &path, "expected a list of tables".into());
            return Some(Vec::new());
        };
        let tables = items.into_iter().enumerate();
        Some(tables.map(|(index, item)| self.table(format!("{path}[{index}]"), item.span(), item)).collect())
    }

    fn table<'t>(&mut self, path: String, name: Range<usize>, value: Spanned<DeValue<'t>>) -> Section<'t> {
        let span = name.start..value.span().end;
        let table = match value.into_inner() {
            DeValue::Table(table) => table,
            other => {
                let found = other.type_str();
                let kind = match &other {
                    DeValue::String(kind) if WITH_KIND.contains(&path.as_str()) => {
                        format!("; did you mean {path}.kind = \"{}\"?", shortened(kind))
                    }
                    _ => String::new(),
                };
                self.fault_at(name.start, &path, format!("expected a table, found {found}{kind}"));
                DeTable::new()
            }
        };
        Section { path, table: Spanned::new(span, table) }
    }

    /// Takes the number `key` out of `section`; `None` if it is absent or invalid.
    pub fn number(&mut self, section: &mut Section<'_>, key: &str) -> Option<f64> {
        let path = join(&section.path, key);
        let (name, value) = section.take(key)?;
        match f64::deserialize(ValueDeserializer::from(value)) {
            Ok(number) => Some(number),
            Err(error) => {
                self.fault_at(name.start, &path, in_words(error.message()));
                None
            }
        }
    }

    /// Takes the string `key` out of `section`; `None` if it is absent or invalid.
    pub fn string(&mut self, section: &mut Section<'_>, key: &str) -> Option<String> {
        let path = join(&section.path, key);
        let (name, value) = section.take(key)?;
        match value.into_inner() {
            DeValue::String(text) => Some(text.into_owned()),
            other => {
                let reason = format!("expected a string, found {}", other.type_str());
                self.fault_at(name.start, &path, reason);
                None
            }
        }
    }

    /// Types the rest of the section. Each key that does not fit is recorded as a fault and left out, so that
    /// one pass reports all of them. Returns `None` only if a required key is missing.
    pub fn read<T: Settings>(&mut self, mut section: Section<'_>) -> Option<T> {
        let places: Vec<(String, usize)> =
            section.table.get_ref().keys().map(|key| (key.get_ref().to_string(), key.span().start)).collect();
        loop {
            let table = section.table.get_ref().clone();
            let value = Spanned::new(section.table.span(), DeValue::Table(table));
            let error = match T::deserialize(ValueDeserializer::from(value)) {
                Ok(typed) => {
                    for (key, reason) in typed.faults() {
                        let place = places.iter().find(|(name, _)| name == key);
                        let byte = place.map_or(section.table.span().start, |(_, byte)| *byte);
                        self.fault_at(byte, &join(&section.path, key), reason);
                    }
                    return Some(typed);
                }
                Err(error) => error,
            };
            let at = error.span().map_or(section.table.span().start, |span| span.start);
            let culprit = section.table.get_ref().iter().find_map(|(key, value)| {
                let inside = key.span().contains(&at) || value.span().contains(&at);
                inside.then(|| (key.get_ref().to_string(), key.span().start))
            });
            match culprit {
                Some((key, byte)) => {
                    let path = join(&section.path, &key);
                    self.fault_at(byte, &path, readable(error.message(), &key));
                    section.table.get_mut().remove(key.as_str());
                }
                None => {
                    let path = section.path.clone();
                    self.fault_at(at, &path, error.message().replace("missing field", "missing key"));
                    return None;
                }
            }
        }
    }
}

/// Joins `a` and `b` to `a.b`.
fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.is_empty()) {
        (true, _) => key.to_string(),
        (_, true) => path.to_string(),
        _ => format!("{path}.{key}"),
    }
}

/// Rewrites serde's "unknown field `x`, expected one of `a`, `b`" to name the nearest known key first, and its names of
/// types to words.
fn readable(message: &str, key: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field") else { return in_words(message) };
    let names: Vec<&str> = rest.split('`').skip(3).step_by(2).collect();
    unknown("key", key, &names)
}

/// Returns "unknown method `fixmtach`; did you mean `fixmatch`? (known: …)".
pub fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let name = &*shortened(name);
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(candidate, name), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 3)
        .min();
    let hint = near.map_or(String::new(), |(_, name)| format!("; did you mean `{name}`?"));
    format!("unknown {what} `{name}`{hint} (known: {})", known.join(", "))
}

/// Returns a name as messages show it: whole if it has at most 100 characters. A stranger may send one of any
/// length, and comparing names takes time.
pub fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    }
}

/// Merges `over` into `base`, table by table.
///
/// If `kind` changes, the table's other options are dropped: they belonged to the old kind.
fn lay_over<'t>(base: &mut DeTable<'t>, over: DeTable<'t>) {
    let kind =
        |table: &DeTable<'t>| table.get("kind").and_then(|kind| kind.get_ref().as_str().map(String::from));
    if let (Some(old), Some(new)) = (kind(base), kind(&over))
        && old != new
    {
        base.clear();
    }
    for (key, value) in over {
        let both_tables = value.get_ref().is_table()
            && base.get(&**key.get_ref()).is_some_and(|old| old.get_ref().is_table());
        if !both_tables {
            base.remove(&**key.get_ref());
            base.insert(key, value);
            continue;
        }
        let old = base.get_mut(&**key.get_ref()).map(Spanned::get_mut);
        if let (Some(DeValue::Table(old)), DeValue::Table(new)) = (old, value.into_inner()) {
            lay_over(old, new);
        }
    }
}
