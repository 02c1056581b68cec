//! The number of a feature in JSON.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use sluicebox_core::config::document::shortened;
use std::fmt;

/// Visitor of the number of a feature: true is 1, false is 0, and null means that it is missing.
pub struct Feature<'n> {
    /// Name of the feature.
    pub name: &'n str,
}

impl Feature<'_> {
    fn refuse<E: Error>(&self, what: impl fmt::Display) -> E {
        E::custom(format!("`{}` is {what} where a number should be", self.name))
    }
}

impl<'de> DeserializeSeed<'de> for Feature<'_> {
    type Value = Option<f64>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<f64>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Feature<'_> {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<f64>, E> {
        Ok(Some(number as f64))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<f64>, E> {
        Ok(Some(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<f64>, E> {
        Ok(Some(number))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Option<f64>, E> {
        Ok(Some(f64::from(u8::from(yes))))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<f64>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<f64>, E> {
        Err(self.refuse(format_args!("the text {:?}", shortened(text))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _parts: A) -> Result<Option<f64>, A::Error> {
        Err(self.refuse("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _map: A) -> Result<Option<f64>, A::Error> {
        let name = self.name;
        Err(self.refuse(format_args!("an object (`{name}.KEY` is the name of what is in it)")))
    }
}
