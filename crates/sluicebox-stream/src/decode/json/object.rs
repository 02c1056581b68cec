//! The keys of an object that is a sample, and of the objects in it.

use crate::decode::gathered::Gathered;
use crate::decode::json::feature::Feature;
use crate::decode::json::fields::{Class, Id};
use crate::decode::json::values::{Base64, Part};
use crate::decode::keys::{Keys, Meaning};
use crate::decode::nested::Nested;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use sluicebox_core::sample::Format;
use std::fmt;

/// Visitor of an object whose keys are parts of a sample. Objects nest as deep as the names of the features do.
pub struct Object<'a, 'k> {
    /// Format of the sample.
    pub format: &'k Format,
    /// What the keys mean.
    pub keys: &'k Keys,
    /// Where the parts go.
    pub gathered: &'a mut Gathered<'k>,
    /// The object around these keys, if there is one.
    pub group: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { format, keys, gathered, group } = self;
        while let Some(meaning) = map.next_key_seed(Key { keys, group })? {
            let taken = match meaning {
                Meaning::Values => {
                    let mut array = Nested::new(format);
                    map.next_value_seed(Part { array: &mut array, depth: 0 })?;
                    array.values(format).and_then(|values| gathered.values(values))
                }
                Meaning::Base64 => gathered.values(map.next_value_seed(Base64 { format })?),
                Meaning::Id => gathered.id(map.next_value_seed(Id)?),
                Meaning::Class => gathered.class(map.next_value_seed(Class)?),
                Meaning::Feature(at) => gathered.feature(at, map.next_value_seed(Feature { keys, at })?),
                Meaning::Group(inner) => {
                    map.next_value_seed(Object { format, keys, gathered, group: Some(inner) }).map(Ok)?
                }
                Meaning::Ignored => map.next_value::<IgnoredAny>().map(|_| Ok(()))?,
            };
            taken.map_err(Error::custom)?;
        }
        Ok(())
    }
}

/// Visitor of a key.
struct Key<'k> {
    keys: &'k Keys,
    group: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Meaning;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Meaning, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Meaning;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Meaning, E> {
        let meaning = match self.group {
            None => self.keys.meaning(key),
            Some(_) => self.keys.meaning(&self.keys.within(self.group, key)),
        };
        meaning.map_err(E::custom)
    }
}
