//! What JSON holds of a feature: a number or a category.

use crate::decode::keys::Keys;
use crate::decode::table::{Encoding, Given};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Visitor of a feature. Among numbers true is 1 and false is 0; null means that it is missing.
pub struct Feature<'k> {
    /// What the keys mean.
    pub keys: &'k Keys,
    /// Index of the feature.
    pub at: usize,
}

impl Feature<'_> {
    fn name(&self) -> &str {
        &self.keys.features[self.at]
    }

    fn encoding(&self) -> &Encoding {
        &self.keys.encodings[self.at]
    }

    fn refuse<E: Error>(&self, what: impl fmt::Display) -> E {
        let should = if *self.encoding() == Encoding::Number { "a number" } else { "a category" };
        E::custom(format!("`{}` is {what} where {should} should be", self.name()))
    }
}

impl<'de> DeserializeSeed<'de> for Feature<'_> {
    type Value = Given;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Feature<'_> {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a category")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Given, E> {
        self.encoding().whole(number.into(), format_args!("`{}`", self.name())).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Given, E> {
        self.encoding().whole(number.into(), format_args!("`{}`", self.name())).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Given, E> {
        self.encoding().number(number, format_args!("`{}`", self.name())).map_err(E::custom)
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Given, E> {
        self.encoding().boolean(yes, format_args!("`{}`", self.name())).map_err(E::custom)
    }

    fn visit_unit<E: Error>(self) -> Result<Given, E> {
        Ok(Given::Missing)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Given, E> {
        self.keys.text(self.at, text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _parts: A) -> Result<Given, A::Error> {
        Err(self.refuse("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _map: A) -> Result<Given, A::Error> {
        Err(self.refuse(format_args!("an object (`{}.KEY` is the name of what is in it)", self.name())))
    }
}
