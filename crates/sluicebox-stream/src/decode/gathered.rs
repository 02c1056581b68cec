//! A sample whose parts come one after the other, by their keys.

use crate::decode::api::Record;
use crate::decode::class_name::given;
use crate::decode::keys::Keys;
use crate::decode::numbers;
use crate::decode::table::Given;
use sluicebox_core::sample::{Format, Values};
use sluicebox_core::sample_id::SampleId;

/// Parts of a sample so far. Each may come once; null counts as coming.
pub struct Gathered<'k> {
    format: &'k Format,
    keys: &'k Keys,
    id: Option<Option<SampleId>>,
    class: Option<Option<String>>,
    values: Option<Values>,
    /// Features by name: whether they came, and what.
    features: Vec<Option<Given>>,
}

impl<'k> Gathered<'k> {
    /// Creates a sample without parts.
    pub fn new(format: &'k Format, keys: &'k Keys) -> Self {
        let features = vec![None; keys.features.len()];
        Self { format, keys, id: None, class: None, values: None, features }
    }

    /// Takes the id; none if it is null.
    pub fn id(&mut self, id: Option<SampleId>) -> Result<(), String> {
        once(self.id.replace(id).is_some(), &self.keys.id)
    }

    /// Takes the class; none if it is null.
    pub fn class(&mut self, class: Option<String>) -> Result<(), String> {
        once(self.class.replace(class).is_some(), &self.keys.class)
    }

    /// Takes all values.
    pub fn values(&mut self, values: Values) -> Result<(), String> {
        match self.values.replace(values) {
            None => Ok(()),
            Some(_) => Err("values are given twice".into()),
        }
    }

    /// Takes a feature.
    pub fn feature(&mut self, at: usize, given: Given) -> Result<(), String> {
        once(self.features[at].replace(given).is_some(), &self.keys.features[at])
    }

    /// Returns the sample once all of it has come.
    pub fn record(self) -> Result<Record, String> {
        let named = self.features.iter().any(Option::is_some);
        let values = match self.values {
            Some(_) if named => return Err("features by name beside `values`".into()),
            Some(values) => values,
            None if self.keys.features.is_empty() => {
                return Err(
                    "neither `values` nor `base64`; to give features by name, set source.features".into()
                );
            }
            None => by_name(&self.features, self.format, self.keys)?,
        };
        let markers = &self.keys.missing_markers;
        let class = self.class.flatten().map(|class| given(self.format, markers, class)).transpose()?;
        Ok(Record { id: self.id.flatten(), values, class: class.flatten() })
    }
}

fn once(again: bool, key: &str) -> Result<(), String> {
    if again { Err(format!("`{key}` is given twice")) } else { Ok(()) }
}

fn by_name(features: &[Option<Given>], format: &Format, keys: &Keys) -> Result<Values, String> {
    let given = |at: usize| features[at].unwrap_or(Given::Missing);
    let missing = (0..features.len()).find(|at| given(*at) == Given::Missing);
    let any = (0..features.len()).any(|at| given(at) != Given::Missing);
    if let Some(missing) = missing.filter(|_| !keys.may_miss || !any) {
        return Err(format!("the value of `{}` is missing", keys.features[missing]));
    }
    let (mut values, mut row) = (Values::none(format.dtype), Vec::new());
    values.reserve(format.shape.len());
    for (at, (name, encoding)) in keys.features.iter().zip(&keys.encodings).enumerate() {
        row.clear();
        encoding.push(given(at), &mut row);
        let mut numbers = row.iter();
        let pushed = numbers.try_for_each(|number| numbers::push_or_missing(&mut values, *number));
        pushed.map_err(|reason| format!("`{name}`: {reason}"))?;
    }
    Ok(values)
}
