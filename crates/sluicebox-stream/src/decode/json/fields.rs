//! Id and class of a sample in JSON.

use crate::decode::api::chosen;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, Unexpected, Visitor};
use sluicebox_core::sample_id::{GIVEN_IDS, SampleId};
use std::fmt;

/// Visitor of the id of a sample; null means none.
pub struct Id;

impl<'de> DeserializeSeed<'de> for Id {
    type Value = Option<SampleId>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<SampleId>, D::Error> {
        let id = Option::<SampleId>::deserialize(deserializer)?;
        id.map(chosen).transpose().map_err(Error::custom)
    }
}

/// Deserialises a class: its name, or its number as text; null is none. For `#[serde(deserialize_with)]`.
pub fn class<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Class.deserialize(deserializer)
}

/// Visitor of a class, by name or number; null means none.
pub struct Class;

impl<'de> DeserializeSeed<'de> for Class {
    type Value = Option<String>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Class {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a class: its name, its number or null")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<String>, E> {
        Ok(Some(name.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<String>, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<String>, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<String>, E> {
        match number.fract() == 0.0 && number.abs() < GIVEN_IDS as f64 {
            true => Ok(Some(number.to_string())), // 1 for 1.0
            false => Err(E::invalid_type(Unexpected::Float(number), &self)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }
}
