//! Ids of samples: whole numbers and texts, as their feeders write them, and the number by which the job counts each.
//!
//! A whole number below 2^52 is its own key. So is one from 2^52 on that the job gives to a sample without an id. Any
//! other id (a text, a number of 64 bits, a negative one) has a key with the highest bit, made of a hash of its
//! text: of a million ids two have the same with a probability of 5e-8. The name goes along with its sample, so that the
//! id can be given back as it was sent; whoever has the key only can find the sample, and a label can find it.
//!
//! ```
//! use sluicebox_core::sample_id::SampleId;
//!
//! // 7 and "7" are one id, each given back as it was sent.
//! let (number, text) = (SampleId::number(7), SampleId::quoted("7")?);
//! assert_eq!((number.key, text.key), (7, 7));
//! assert_eq!((number.to_string(), text.to_string()), ("7".into(), "7".into()));
//! assert!(number.name.is_none() && text.name.is_some());
//! assert_eq!(SampleId::plain("7.0")?, number); // as tables write it
//! assert_eq!(SampleId::plain("18446744073709551615")?, SampleId::number(u64::MAX));
//! assert!(SampleId::plain("").is_err() && SampleId::plain(&"x".repeat(129)).is_err());
//! # Ok::<(), String>(())
//! ```

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// First id that the job gives to a sample without one. Numbers below it are keys of their own.
pub const GIVEN_IDS: u64 = 1 << 52;
/// First number after those: no feeder may choose one between the two.
pub const AFTER_GIVEN_IDS: u64 = GIVEN_IDS + (1 << 46);
/// First key that is made of a name.
pub const NAMED_IDS: u64 = 1 << 63;
/// Maximum length of an id, in bytes.
pub const LONGEST_ID: usize = 128;

/// Id of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleId {
    /// Number by which the job counts the sample.
    pub key: u64,
    /// The id as it was sent, where that is not the key.
    pub name: Option<IdName>,
}

/// An id as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdName {
    /// A number, as against a text.
    pub is_number: bool,
    /// The number's digits, or the text.
    pub text: String,
}

/// Name of a sample among several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleName {
    /// Index of the sample.
    pub at: u32,
    /// Its name.
    pub name: IdName,
}

impl SampleId {
    /// Returns the id of a sample of which only the key is known.
    pub fn of_key(key: u64) -> Self {
        Self { key, name: None }
    }

    /// Returns a whole number as an id.
    pub fn number(number: u64) -> Self {
        match number < AFTER_GIVEN_IDS {
            true => Self::of_key(number),
            false => Self::named(true, number.to_string()),
        }
    }

    /// Returns an id that is written in quotes.
    pub fn quoted(text: &str) -> Result<Self, String> {
        check(text)?;
        let name = IdName { is_number: false, text: text.to_string() };
        Ok(Self { key: name.key(), name: Some(name) })
    }

    /// Returns an id that is written without quotes, as in tables and on a command line: whole numbers are numbers, and
    /// so is 7.0.
    pub fn plain(text: &str) -> Result<Self, String> {
        check(text)?;
        let whole = text.split_once('.').filter(|(_, zeros)| zeros.bytes().all(|digit| digit == b'0'));
        let whole = whole.map_or(text, |(whole, _)| whole);
        Ok(match (canonical(whole), canonical_negative(text)) {
            (Some(number), _) => Self::number(number),
            (None, Some(number)) => Self::named(true, number.to_string()),
            (None, None) => Self::named(false, text.to_string()),
        })
    }

    fn named(is_number: bool, text: String) -> Self {
        let name = IdName { is_number, text };
        Self { key: name.key(), name: Some(name) }
    }
}

impl IdName {
    /// Returns the key that the job makes of the name.
    pub fn key(&self) -> u64 {
        let numbered = canonical(&self.text).filter(|number| *number < AFTER_GIVEN_IDS);
        numbered.unwrap_or_else(|| NAMED_IDS | xxh3_64(self.text.as_bytes()))
    }

    /// Returns why it is no name of a key, if it is none.
    pub fn fault(&self, key: u64) -> Option<String> {
        let is_number = canonical(&self.text).is_some() || canonical_negative(&self.text).is_some();
        match check(&self.text) {
            Err(reason) => Some(reason),
            Ok(()) if self.key() != key || (self.is_number && !is_number) => {
                Some(format!("the name `{}` is not that of id {key}", self.text))
            }
            Ok(()) => None,
        }
    }
}

/// Returns whether a key is one that the job gives to a sample without an id.
pub fn is_given(key: u64) -> bool {
    (GIVEN_IDS..NAMED_IDS).contains(&key)
}

/// Returns the number that a text is, if it is written as numbers are.
fn canonical(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| digits)
}

fn canonical_negative(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number < 0 && number.to_string() == text).then_some(number)
}

fn check(text: &str) -> Result<(), String> {
    match text.len() {
        0 => Err("an id is empty".into()),
        1..=LONGEST_ID if text.chars().any(char::is_control) => Err("an id holds a control character".into()),
        1..=LONGEST_ID => Ok(()),
        length => Err(format!("an id of {length} bytes: at most {LONGEST_ID} are taken")),
    }
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(&name.text),
            None if self.key >= NAMED_IDS => write!(f, "#{:016x}", self.key),
            None => write!(f, "{}", self.key),
        }
    }
}

/// As it was sent; an id with a key of which the name is not known any more is the text # and the key in hexadecimal.
impl Serialize for SampleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(name) = &self.name else {
            return match self.key < NAMED_IDS {
                true => serializer.serialize_u64(self.key),
                false => serializer.collect_str(self),
            };
        };
        match (name.is_number, name.text.parse::<u64>(), name.text.parse::<i64>()) {
            (true, Ok(number), _) => serializer.serialize_u64(number),
            (true, _, Ok(number)) => serializer.serialize_i64(number),
            _ => serializer.serialize_str(&name.text),
        }
    }
}

impl<'de> Deserialize<'de> for SampleId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whole)
    }
}

/// Visitor of an id.
pub struct Whole;

impl Visitor<'_> for Whole {
    type Value = SampleId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id: a whole number of 64 bits, or a text")
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<SampleId, E> {
        Ok(SampleId::number(id))
    }

    fn visit_i64<E: Error>(self, id: i64) -> Result<SampleId, E> {
        Ok(u64::try_from(id).map_or_else(|_| SampleId::named(true, id.to_string()), SampleId::number))
    }

    fn visit_f64<E: Error>(self, id: f64) -> Result<SampleId, E> {
        // 7.0, as languages write it that know no whole numbers. From 2^53 on these have rounded it already.
        match id.fract() == 0.0 && id.abs() < (1u64 << 53) as f64 {
            true => self.visit_i64(id as i64),
            false => Err(E::invalid_type(Unexpected::Float(id), &self)),
        }
    }

    fn visit_str<E: Error>(self, id: &str) -> Result<SampleId, E> {
        SampleId::quoted(id).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_as_people_have_them_are_given_back_as_they_were_sent() {
        let uuid = "7f3b1c9e-2d4a-4a51-9c60-0f6d2b8e7a11";
        for text in [uuid, "007", "+7", "1e3", "7.5", "-0", "1.10", "x", "ид", "99999999999999999999"] {
            let (plain, quoted) = (SampleId::plain(text).unwrap(), SampleId::quoted(text).unwrap());
            assert_eq!(plain, quoted, "{text}");
            assert!(plain.key >= NAMED_IDS && plain.to_string() == text);
        }
        for number in [(1 << 53) + 1, 1_234_567_890_123_456_789, u64::MAX, AFTER_GIVEN_IDS] {
            let id = SampleId::number(number);
            assert!(id.key >= NAMED_IDS && id.to_string() == number.to_string());
            assert_eq!(SampleId::plain(&number.to_string()).unwrap(), id);
            assert_eq!(SampleId::quoted(&number.to_string()).unwrap().key, id.key);
        }
        let negative = SampleId::plain("-9223372036854775808").unwrap();
        assert!(negative.name.as_ref().unwrap().is_number);
        assert_eq!(SampleId::quoted("-9223372036854775808").unwrap().key, negative.key);
        for given in [GIVEN_IDS, AFTER_GIVEN_IDS - 1] {
            assert_eq!(SampleId::plain(&given.to_string()).unwrap(), SampleId::of_key(given));
        }
        assert_eq!(SampleId::plain("8.000").unwrap(), SampleId::of_key(8));
        assert_eq!(SampleId::of_key(NAMED_IDS | 255).to_string(), "#80000000000000ff");
        for (wrong, says) in [("", "empty"), ("a\nb", "control character"), (&*"é".repeat(65), "130 bytes")]
        {
            assert!(SampleId::plain(wrong).unwrap_err().contains(says), "{wrong}");
            assert!(SampleId::quoted(wrong).unwrap_err().contains(says), "{wrong}");
        }
    }

    #[test]
    fn a_name_belongs_to_its_key() {
        let name = |is_number, text: &str| IdName { is_number, text: text.into() };
        assert_eq!(name(false, "7").fault(7), None);
        assert_eq!(name(false, "x").fault(name(false, "x").key()), None);
        for (name, key) in
            [(name(false, "8"), 7), (name(false, "x"), 7), (name(true, "7.5"), name(true, "7.5").key())]
        {
            assert!(name.fault(key).unwrap().contains("is not that of id"), "{name:?}");
        }
        assert!(name(false, &"x".repeat(200)).fault(7).unwrap().contains("200 bytes"));
    }

    /// Logs and checkpoints hold keys.
    #[test]
    fn keys_stay_what_they_are() {
        assert_eq!(SampleId::plain("a").unwrap().key, NAMED_IDS | xxh3_64(b"a"));
        assert_eq!(xxh3_64(b"a"), 0xE6C6_32B6_1E96_4E1F);
    }
}
