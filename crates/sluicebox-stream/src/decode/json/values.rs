//! Values of a sample in JSON: nested arrays of numbers, or base64 of little-endian bytes.

use crate::decode::array;
use crate::decode::nested::Nested;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use sluicebox_core::sample::{Format, Values, sample_bytes};
use std::fmt;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Visitor of a number or an array within the values.
pub struct Part<'a> {
    /// Where the numbers go.
    pub array: &'a mut Nested,
    /// Arrays around this part.
    pub depth: usize,
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.depth == 0 { "an array of values" } else { "a number" })
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.array.push(self.depth, number).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<(), A::Error> {
        let Part { array, depth } = self;
        array.open(depth).map_err(Error::custom)?;
        let mut count = 0;
        while parts.next_element_seed(Part { array: &mut *array, depth: depth + 1 })?.is_some() {
            count += 1;
        }
        array.close(depth, count).map_err(Error::custom)
    }
}

/// Visitor of values as base64 of little-endian bytes.
pub struct Base64<'f> {
    /// Format of the sample.
    pub format: &'f Format,
}

impl<'de> DeserializeSeed<'de> for Base64<'_> {
    type Value = Values;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Values, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Base64<'_> {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64 of the sample's bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Values, E> {
        let wanted = sample_bytes(self.format);
        if text.len() / 4 * 3 > wanted + 3 {
            let (shape, dtype) = (self.format.shape, self.format.dtype.name());
            return Err(E::custom(format!("base64 of more than {wanted} bytes ({shape} of {dtype})")));
        }
        let bytes = BASE64.decode(text).map_err(|error| E::custom(format!("not base64: {error}")))?;
        array::sample_of_bytes(&bytes, self.format).map_err(E::custom)
    }
}
