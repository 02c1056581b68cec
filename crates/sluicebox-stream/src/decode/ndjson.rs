//! NDJSON: one sample per line, as an object or as a bare array of its values.
//!
//! ```json
//! {"id": 7, "values": [[0, 255], [12, 3]], "label": "cat"}
//! {"base64": "AP8MAw=="}
//! [0, 255, 12, 3]
//! ```

use crate::decode::api::{DecodeError, Record, Records, fits, known};
use crate::decode::array;
use crate::decode::lines::Lines;
use crate::decode::numbers;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use sluicebox_core::config::document::unknown;
use sluicebox_core::sample::GIVEN_IDS;
use sluicebox_core::sample::{Format, Values};
use std::fmt;
use std::io::BufRead;

const KEYS: [&str; 4] = ["values", "base64", "id", "label"];
/// Maximum nesting of arrays: `[channels, height, width]`.
const DEEPEST: usize = 3;
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

struct Ndjson<R> {
    lines: Lines<R>,
    format: Format,
}

/// Decodes NDJSON. A line longer than 16 MiB is bad, and is not held in memory.
pub fn ndjson(input: impl BufRead + Send + 'static, format: &Format) -> impl Records + 'static {
    Ndjson { lines: Lines::new(input), format: format.clone() }
}

impl<R: BufRead + Send> Records for Ndjson<R> {
    fn next_record(&mut self) -> Result<Option<Record>, DecodeError> {
        if !self.lines.advance()? {
            return Ok(None);
        }
        parse(self.lines.line(), &self.format).map(Some).map_err(|reason| self.lines.bad(reason))
    }
}

/// Decodes the sample of one line; the error says what is wrong with it.
pub fn parse(line: &[u8], format: &Format) -> Result<Record, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let record = Line { format }.deserialize(&mut json);
    record.and_then(|record| json.end().map(|()| record)).map_err(|error| reason(&error, text))
}

/// Returns serde's message with the column, but without the line, which is always 1.
fn reason(error: &serde_json::Error, text: &str) -> String {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    if error.is_syntax() && ["NaN", "Infinity", "inf"].iter().any(|word| text.contains(word)) {
        return format!("not a number in column {}: NaN and infinity are refused", error.column());
    }
    match error.is_data() {
        true => message.to_string(),
        false => format!("not JSON: {message} in column {}", error.column()),
    }
}

/// Visitor of a line.
struct Line<'f> {
    format: &'f Format,
}

impl<'de> DeserializeSeed<'de> for Line<'_> {
    type Value = Record;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Record, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Line<'_> {
    type Value = Record;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of values, or an object with `values` or `base64`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Record, A::Error> {
        let mut array = Array::new(self.format);
        Part { array: &mut array, depth: 0 }.visit_seq(parts)?;
        Ok(Record { id: None, values: array.values(self.format).map_err(Error::custom)?, class: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
        let (mut id, mut values, mut class) = (None, None, None);
        while let Some(key) = map.next_key_seed(Key)? {
            let again = match key {
                "values" => {
                    let mut array = Array::new(self.format);
                    map.next_value_seed(Part { array: &mut array, depth: 0 })?;
                    values.replace(array.values(self.format).map_err(Error::custom)?).is_some()
                }
                "base64" => values.replace(map.next_value_seed(Base64 { format: self.format })?).is_some(),
                "id" => id.replace(map.next_value_seed(Id)?).is_some(),
                _ => class.replace(map.next_value_seed(Label)?).is_some(),
            };
            if again {
                return Err(Error::custom(match key {
                    "values" | "base64" => "values are given twice".to_string(),
                    _ => format!("`{key}` is given twice"),
                }));
            }
        }
        let values = values.ok_or_else(|| Error::custom("neither `values` nor `base64`"))?;
        let class = class.flatten().map(|class| known(self.format, class)).transpose();
        Ok(Record { id: id.flatten(), values, class: class.map_err(Error::custom)? })
    }
}

/// Visitor of a key of the object.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = &'static str;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<&'static str, E> {
        let known = KEYS.iter().find(|known| **known == key);
        known.copied().ok_or_else(|| E::custom(unknown("key", key, &KEYS)))
    }
}

/// Values read so far, and their nesting.
struct Array {
    values: Values,
    most: usize,
    /// Length of the arrays at each depth; 0 until one has ended.
    dims: [usize; DEEPEST],
    /// Depth of the numbers.
    leaf: Option<usize>,
}

impl Array {
    fn new(format: &Format) -> Self {
        let most = format.shape.len();
        let mut values = Values::none(format.dtype);
        values.reserve(most);
        Self { values, most, dims: [0; DEEPEST], leaf: None }
    }

    fn push(
        &mut self,
        depth: usize,
        push: impl FnOnce(&mut Values) -> Result<(), String>,
    ) -> Result<(), String> {
        match self.leaf {
            Some(leaf) if leaf == depth => {}
            None if depth > 0 => self.leaf = Some(depth),
            None => return Err("a number where an array of values should be".into()),
            Some(_) => return Err("numbers beside arrays".into()),
        }
        if self.values.len() == self.most {
            return Err(format!("more than {} values", self.most));
        }
        push(&mut self.values)
    }

    /// Checks and stores the length of an array at `depth` that ended after `count` items.
    fn close(&mut self, depth: usize, count: usize) -> Result<(), String> {
        let known = &mut self.dims[depth];
        match (count, *known) {
            (0, _) => Err("an empty array".into()),
            (count, 0) => {
                *known = count;
                Ok(())
            }
            (count, known) if count == known => Ok(()),
            (count, known) => Err(format!("an array of {count} beside one of {known}")),
        }
    }

    fn values(self, format: &Format) -> Result<Values, String> {
        fits(format.shape, &self.dims[..self.leaf.unwrap_or(0)]).map(|()| self.values)
    }
}

/// Visitor of a number or an array within the values.
struct Part<'a> {
    array: &'a mut Array,
    depth: usize,
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
        self.array.push(self.depth, |values| numbers::push(values, number)).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<(), A::Error> {
        let Part { array, depth } = self;
        if depth == DEEPEST {
            return Err(Error::custom(format!("arrays nested more than {DEEPEST} deep")));
        }
        let mut count = 0;
        while parts.next_element_seed(Part { array: &mut *array, depth: depth + 1 })?.is_some() {
            count += 1;
        }
        array.close(depth, count).map_err(Error::custom)
    }
}

/// Visitor of values as base64 of little-endian bytes.
struct Base64<'f> {
    format: &'f Format,
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
        let bytes = BASE64.decode(text).map_err(|error| E::custom(format!("not base64: {error}")))?;
        array::sample_of_bytes(&bytes, self.format).map_err(E::custom)
    }
}

/// Visitor of an id; null means none.
struct Id;

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

    fn visit_unit<E: Error>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }
}

/// Visitor of a class, by name or number; null means none.
struct Label;

impl<'de> DeserializeSeed<'de> for Label {
    type Value = Option<String>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Label {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a class: its name or its number")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<String>, E> {
        Ok(Some(name.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<String>, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::{Dtype, Shape};

    fn format(shape: Shape, dtype: Dtype) -> Format {
        Format { shape, dtype, scale: 1.0, classes: vec!["cat".into(), "dog".into()] }
    }

    fn pixels() -> Format {
        format(Shape::Image { channels: 1, height: 2, width: 2 }, Dtype::U8)
    }

    #[test]
    fn a_line_is_an_object_or_an_array_flat_or_nested() {
        let values = Values::U8(vec![0, 255, 12, 3]);
        for line in [
            "[0, 255, 12, 3]",
            "[[0, 255], [12, 3]]",
            "[[[0, 255], [12, 3.0]]]",
            r#"{"values": [0, 255, 12, 3]}"#,
            r#"{"\u0076alues": [0, 255, 12, 3], "id": null, "label": null}"#,
            r#"{"base64": "AP8MAw=="}"#,
            r#"{"base64": "AP8MAw"}"#,
        ] {
            let record = parse(line.as_bytes(), &pixels()).unwrap();
            assert_eq!(record, Record { id: None, values: values.clone(), class: None }, "{line}");
        }
        let record =
            parse(br#"{"label": 1, "id": 4503599627370495, "values": [1,2,3,4]}"#, &pixels()).unwrap();
        assert_eq!((record.id, record.class), (Some((1 << 52) - 1), Some("1".into())));
        let numbers = format(Shape::Vector { features: 2 }, Dtype::F32);
        let record = parse(br#"{"base64": "AACAPwAAAMA=", "label": "cat"}"#, &numbers).unwrap();
        assert_eq!((record.values, record.class), (Values::F32(vec![1.0, -2.0]), Some("cat".into())));
        assert_eq!(parse(b"[0.1, 1e-3]", &numbers).unwrap().values, Values::F32(vec![0.1, 1e-3]));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told() {
        let numbers = format(Shape::Vector { features: 2 }, Dtype::F32);
        let colour = format(Shape::Image { channels: 3, height: 1, width: 2 }, Dtype::U8);
        for (format, line, says) in [
            (&pixels(), "[0, 255, 12]", "3 values instead of 4 (1×2×2)"),
            (&pixels(), "[0, 255, 12, 3, 4]", "more than 4 values"),
            (
                &pixels(),
                "[0, 255, 12, 0.5]",
                "value 3 is 0.5: dtype u8 holds only whole numbers from 0 to 255",
            ),
            (&pixels(), "[0, 256, 12, 5]", "value 1 is 256: dtype u8 holds only whole numbers"),
            (&pixels(), "[0, -1, 12, 5]", "value 1 is -1: dtype u8 holds only whole numbers"),
            (&pixels(), "[[0, 1, 2], [3]]", "an array of 1 beside one of 3"),
            (&pixels(), "[[0, 1], 2, 3]", "numbers beside arrays"),
            (&pixels(), "[0, 1, [2, 3]]", "numbers beside arrays"),
            (&pixels(), "[[[[0, 1, 2, 3]]]]", "nested more than 3 deep"),
            (&pixels(), "[[]]", "an empty array"),
            (&pixels(), "[[0], [1], [2], [3]]", "a sample of 4×1 values instead of 1×2×2"),
            (&colour, "[[[0, 1, 2], [3, 4, 5]]]", "1×2×3 values instead of 3×1×2; put the channels first"),
            (&pixels(), "[0, 1, null, 3]", "invalid type: null, expected a number"),
            (&pixels(), r#"[0, 1, "2", 3]"#, "invalid type: string \"2\", expected a number"),
            (&pixels(), "7", "expected an array of values, or an object"),
            (&pixels(), r#"{"values": 7}"#, "a number where an array of values should be"),
            (&pixels(), r#"{"value": [0, 1, 2, 3]}"#, "unknown key `value`; did you mean `values`?"),
            (&pixels(), r#"{"id": 1}"#, "neither `values` nor `base64`"),
            (&pixels(), r#"{"values": [1,2,3,4], "base64": "AP8MAw=="}"#, "values are given twice"),
            (&pixels(), r#"{"values": [1,2,3,4], "id": 1, "id": 2}"#, "`id` is given twice"),
            (
                &pixels(),
                r#"{"values": [1,2,3,4], "id": 4503599627370496}"#,
                "id 4503599627370496 is not from 0",
            ),
            (&pixels(), r#"{"values": [1,2,3,4], "id": -1}"#, "expected an id: a whole number from 0"),
            (&pixels(), r#"{"values": [1,2,3,4], "id": "a"}"#, "expected an id: a whole number from 0"),
            (&pixels(), r#"{"values": [1,2,3,4], "label": 1.5}"#, "expected a class: its name or its number"),
            (
                &pixels(),
                r#"{"values": [1,2,3,4], "label": "dgo"}"#,
                "unknown class `dgo`; did you mean `dog`?",
            ),
            (&pixels(), r#"{"values": [1,2,3,4], "label": 2}"#, "unknown class `2` (known: cat, dog)"),
            (&pixels(), r#"{"base64": "AP8M"}"#, "3 bytes instead of 4 (1×2×2 of u8)"),
            (&pixels(), r#"{"base64": "%"}"#, "not base64"),
            (&pixels(), r#"{"values": [1,2"#, "not JSON: EOF while parsing a list in column 15"),
            (&pixels(), "[0, 1, 2, 3] 4", "not JSON: trailing characters in column 14"),
            (&numbers, "[NaN, 1]", "NaN and infinity are refused"),
            (&numbers, "[-Infinity, 1]", "NaN and infinity are refused"),
            (&numbers, "[1e39, 1]", "too large for f32"),
            (&numbers, "[1e999, 1]", "number out of range"),
            (&numbers, r#"{"base64": "AADAfwAAAMA="}"#, "value 0 is NaN"),
        ] {
            let reason = parse(line.as_bytes(), format).unwrap_err();
            assert!(reason.contains(says), "{line}: {reason}");
        }
        assert!(parse(b"\xff[1]", &pixels()).unwrap_err().contains("not UTF-8"));
        assert!(parse("[".repeat(100_000).as_bytes(), &pixels()).is_err());
    }

    #[test]
    fn a_bad_line_does_not_spoil_the_next() {
        let long = [b"[".as_slice(), &vec![b' '; 40 << 20], b"0, 1, 2, 3]\n"].concat();
        let text = [b"\n[1,2,3,4]\r\n".as_slice(), b"\xff\xfe\n", &long, b"\n[5,6,7,8]"].concat();
        let mut records = ndjson(std::io::Cursor::new(text), &pixels());
        assert_eq!(records.next_record().unwrap().unwrap().values, Values::U8(vec![1, 2, 3, 4]));
        let Err(DecodeError::Bad { line: 3, reason, .. }) = records.next_record() else { panic!() };
        assert!(reason.contains("not UTF-8"), "{reason}");
        let Err(DecodeError::Bad { line: 4, reason, text }) = records.next_record() else { panic!() };
        assert!(reason.contains("longer than 16 MiB") && text.len() <= 4096, "{reason}");
        assert_eq!(records.next_record().unwrap().unwrap().values, Values::U8(vec![5, 6, 7, 8]));
        assert_eq!(records.next_record(), Ok(None));
        assert_eq!(records.next_record(), Ok(None));
    }
}
