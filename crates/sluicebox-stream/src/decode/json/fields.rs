//! Id and class of a sample in JSON.

use serde::de::{DeserializeSeed, Deserializer, Error, Unexpected, Visitor};
use sluicebox_core::sample::GIVEN_IDS;
use std::fmt;

/// Visitor of an id; null means none.
pub struct Id;

impl<'de> DeserializeSeed<'de> for Id {
    type Value = Option<u64>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<u64>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Id {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an id: a whole number from 0 to {}", GIVEN_IDS - 1)
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<Option<u64>, E> {
        crate::decode::api::id(id).map(Some).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, id: f64) -> Result<Option<u64>, E> {
        // 7.0, as languages write it that know no whole numbers.
        match id.fract() == 0.0 && (0.0..GIVEN_IDS as f64).contains(&id) {
            true => Ok(Some(id as u64)),
            false => Err(E::invalid_type(Unexpected::Float(id), &self)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Option<u64>, E> {
        Ok(None)
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
