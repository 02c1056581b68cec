//! A sample as JSON, as an object or as a bare array of its values, and arrays of samples.
//!
//! ```json
//! {"id": 7, "values": [[0, 255], [12, 3]], "label": "cat"}
//! {"base64": "AP8MAw=="}
//! {"x1": 0.5, "x2": 3, "label": "cat"}
//! [0, 255, 12, 3]
//! ```
//!
//! The text is parsed as a stream: no more than one sample is held beside it, arrays nest at most 3 deep, and
//! parsing ends at the first value that does not fit.

mod feature;
mod fields;
mod object;
mod values;

use crate::decode::api::Record;
use crate::decode::gathered::Gathered;
use crate::decode::keys::Keys;
use crate::decode::nested::Nested;
pub use fields::class;
use object::Object;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use sluicebox_core::sample::Format;
use std::fmt;
use values::Part;

/// Maximum length of a message of the parser, in characters.
const LONGEST_MESSAGE: usize = 500;

/// Decodes one sample, with `keys` where it is an object; the error says what is wrong with it.
pub fn sample(line: &[u8], format: &Format, keys: &Keys) -> Result<Record, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let record = Sample { format, keys }.deserialize(&mut json);
    record.and_then(|record| json.end().map(|()| record)).map_err(|error| reason(&error, text))
}

/// Decodes an array of samples and hands on one after the other; ends at the first that is bad or that `take`
/// refuses. The error says which one, from 1, and why.
pub fn samples(
    text: &[u8],
    format: &Format,
    keys: &Keys,
    take: impl FnMut(Record) -> Result<(), String>,
) -> Result<(), (usize, String)> {
    let text = std::str::from_utf8(text).map_err(|error| (1, format!("not UTF-8: {error}")))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let mut number = 0;
    let list = List { format, keys, number: &mut number, take };
    let read = json.deserialize_seq(list).and_then(|()| json.end());
    read.map_err(|error| (number, reason(&error, text)))
}

/// Visitor of an array of samples.
struct List<'a, T> {
    format: &'a Format,
    keys: &'a Keys,
    /// Number of the sample that is being read, from 1.
    number: &'a mut usize,
    take: T,
}

impl<'de, T: FnMut(Record) -> Result<(), String>> Visitor<'de> for List<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of samples")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut parts: A) -> Result<(), A::Error> {
        loop {
            *self.number += 1;
            match parts.next_element_seed(Sample { format: self.format, keys: self.keys })? {
                Some(record) => (self.take)(record).map_err(Error::custom)?,
                None => return Ok(()),
            }
        }
    }
}

/// Returns serde's message with the column, but without the line.
fn reason(error: &serde_json::Error, text: &str) -> String {
    let message = error.to_string(); // it may quote a string of any length
    let message = message.split(" at line ").next().unwrap_or_default();
    let message = match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_string(),
    };
    if error.is_syntax() && ["NaN", "Infinity", "inf"].iter().any(|word| text.contains(word)) {
        return format!("not a number in column {}: NaN and infinity are refused", error.column());
    }
    match error.is_data() {
        true => message,
        false => format!("not JSON: {message} in column {}", error.column()),
    }
}

/// Visitor of a sample.
struct Sample<'f> {
    format: &'f Format,
    keys: &'f Keys,
}

impl<'de> DeserializeSeed<'de> for Sample<'_> {
    type Value = Record;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Record, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sample<'_> {
    type Value = Record;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of values, or an object with `values` or `base64`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Record, A::Error> {
        let mut array = Nested::new(self.format);
        Part { array: &mut array, depth: 0 }.visit_seq(parts)?;
        Ok(Record { id: None, values: array.values(self.format).map_err(Error::custom)?, class: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Record, A::Error> {
        let Self { format, keys } = self;
        let mut gathered = Gathered::new(format, keys);
        Object { format, keys, gathered: &mut gathered, group: None }.visit_map(map)?;
        gathered.record().map_err(Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::table::{Column, Options};
    use sluicebox_core::sample::{Dtype, Shape, Values};
    use sluicebox_core::sample_id::SampleId;

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
            let record = sample(line.as_bytes(), &pixels(), &Keys::default()).unwrap();
            assert_eq!(record, Record { id: None, values: values.clone(), class: None }, "{line}");
        }
        let record = sample(
            br#"{"label": 1, "id": 4503599627370495, "values": [1,2,3,4]}"#,
            &pixels(),
            &Keys::default(),
        )
        .unwrap();
        assert_eq!((record.id, record.class), (Some(SampleId::of_key((1 << 52) - 1)), Some("1".into())));
        let record =
            sample(br#"{"label": 1.0, "id": 7.0, "values": [1,2,3,4]}"#, &pixels(), &Keys::default())
                .unwrap();
        assert_eq!((record.id, record.class), (Some(SampleId::of_key(7)), Some("1".into())));
        let numbers = format(Shape::Vector { features: 2 }, Dtype::F32);
        let record =
            sample(br#"{"base64": "AACAPwAAAMA=", "label": "cat"}"#, &numbers, &Keys::default()).unwrap();
        assert_eq!((record.values, record.class), (Values::F32(vec![1.0, -2.0]), Some("cat".into())));
        assert_eq!(
            sample(b"[0.1, 1e-3]", &numbers, &Keys::default()).unwrap().values,
            Values::F32(vec![0.1, 1e-3])
        );
    }

    #[test]
    fn an_array_of_samples_is_read_up_to_the_first_bad_one() {
        let read = |text: &str| {
            let mut found = Vec::new();
            let take = |record: Record| match record.id.map(|id| id.key) {
                Some(9) => Err("not this one".to_string()),
                _ => {
                    found.push(record.values);
                    Ok(())
                }
            };
            let ended = samples(text.as_bytes(), &pixels(), &Keys::default(), take);
            (found.len(), ended)
        };
        assert_eq!(read("[[0,1,2,3], {\"values\": [[4,5],[6,7]]}]"), (2, Ok(())));
        assert_eq!(read("[]"), (0, Ok(())));
        let (count, ended) = read("[[0,1,2,3],[0,1,2],[");
        assert_eq!((count, ended), (1, Err((2, "3 values instead of 4 (1×2×2)".into()))));
        let (_, ended) = read("[{\"id\": 9, \"values\": [1,2,3,4]}, 7]");
        assert_eq!(ended, Err((1, "not this one".into())));
        let (count, ended) = read("[[0,1,2,3]] []");
        assert!(count == 1 && ended.unwrap_err().1.contains("trailing characters"));
        assert!(read("7").1.unwrap_err().1.contains("expected an array of samples"));
    }

    fn named(more: Options) -> Result<Keys, String> {
        let columns = |names: &[&str]| names.iter().map(|name| Column::from(*name)).collect();
        let (features, ignore) = (columns(&["x1", "at.x"]), columns(&["when", "at.z"]));
        Keys::of(&Options { features, ignore, ..more }, &format(Shape::Vector { features: 2 }, Dtype::F32))
    }

    #[test]
    fn features_come_by_name_in_any_order() {
        let numbers = format(Shape::Vector { features: 2 }, Dtype::F32);
        let keys = named(Options::default()).unwrap();
        for line in [
            r#"{"x1": 0.5, "at": {"x": 3}}"#,
            r#"{"at.x": 3.0, "when": [{"deep": [1]}], "x1": 5e-1, "id": null, "label": null}"#,
            r#"{"at": {"z": "?", "x": 3}, "x1": 0.5}"#,
            r#"{"values": [0.5, 3]}"#,
            "[0.5, 3]",
        ] {
            let record = sample(line.as_bytes(), &numbers, &keys).unwrap();
            assert_eq!(
                record,
                Record { id: None, values: Values::F32(vec![0.5, 3.0]), class: None },
                "{line}"
            );
        }
        let keys =
            named(Options { class: Some("kind".into()), id: Some("key".into()), ..Options::default() });
        let line = br#"{"key": "a-1", "kind": 1, "x1": true, "at": {"x": false}}"#;
        let record = sample(line, &numbers, &keys.unwrap()).unwrap();
        assert_eq!((record.values, record.class), (Values::F32(vec![1.0, 0.0]), Some("1".into())));
        assert_eq!(record.id, SampleId::plain("a-1").ok());
    }

    #[test]
    fn what_is_wrong_with_features_by_name_is_told() {
        let numbers = format(Shape::Vector { features: 2 }, Dtype::F32);
        let keys = named(Options::default()).unwrap();
        for (line, says) in [
            (r#"{"x1": 0.5}"#, "the value of `at.x` is missing"),
            (r#"{"x1": null, "at.x": 1}"#, "the value of `x1` is missing"),
            (r#"{"x1": 1, "at": null}"#, "invalid type: null, expected an object"),
            (r#"{"x1": 1, "at.x": 2, "x3": 4}"#, "unknown key `x3`; did you mean `x1`?"),
            (r#"{"x1": 1, "at.x": 2, "x3": 4}"#, "source.ignore"),
            (r#"{"x1": 1, "at": {"x": 2, "y": 4}}"#, "unknown key `at.y`"),
            (r#"{"x1": 1, "at.x": 2, "target": 0}"#, "set source.class_column = \"target\""),
            (r#"{"x1": "1", "at.x": 2}"#, "`x1` is the text \"1\" where a number should be"),
            (r#"{"x1": [1], "at.x": 2}"#, "`x1` is an array where a number should be"),
            (r#"{"x1": {"a": 1}, "at.x": 2}"#, "`x1` is an object (`x1.KEY` is the name of what is in it)"),
            (r#"{"x1": 1, "at.x": 2, "x1": 1}"#, "`x1` is given twice"),
            (r#"{"x1": 1, "at.x": 2, "at": {"x": 2}}"#, "`at.x` is given twice"),
            (r#"{"x1": 1, "at.x": 2, "values": [1, 2]}"#, "features by name beside `values`"),
            (r#"{"x1": 1e39, "at.x": 2}"#, "`x1`: value 0 is 1000000000000000000000000000000000000000"),
            (r#"{"x1": NaN, "at.x": 2}"#, "NaN and infinity are refused"),
        ] {
            let reason = sample(line.as_bytes(), &numbers, &keys).unwrap_err();
            assert!(reason.contains(says), "{line}: {reason}");
        }
        // What is left out may nest as deep as a line is long.
        let deep = format!("{{\"when\": {}1", "[".repeat(100_000));
        assert!(sample(deep.as_bytes(), &numbers, &keys).unwrap_err().contains("not JSON: EOF"));
        let reason = sample(br#"{"x1": 1, "x2": 2}"#, &numbers, &Keys::default()).unwrap_err();
        assert!(reason.contains("unknown key `x1`") && reason.contains("source.features"), "{reason}");
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
                "id 4503599627370496 is not for feeders to choose",
            ),
            (
                &pixels(),
                r#"{"values": [1,2,3,4], "id": 7.5}"#,
                "expected an id: a whole number of 64 bits, or a text",
            ),
            (&pixels(), r#"{"values": [1,2,3,4], "id": 1e17}"#, "expected an id: a whole number of 64 bits"),
            (
                &pixels(),
                r#"{"values": [1,2,3,4], "id": 18446744073709551616}"#,
                "expected an id: a whole number",
            ),
            (&pixels(), r#"{"values": [1,2,3,4], "id": ["a"]}"#, "expected an id: a whole number of 64 bits"),
            (&pixels(), r#"{"values": [1,2,3,4], "id": ""}"#, "an id is empty"),
            (
                &pixels(),
                r#"{"values": [1,2,3,4], "label": 1.5}"#,
                "expected a class: its name, its number or null",
            ),
            (
                &pixels(),
                r#"{"values": [1,2,3,4], "label": "dgo"}"#,
                "unknown class `dgo`; did you mean `dog`?",
            ),
            (&pixels(), r#"{"values": [1,2,3,4], "label": 2}"#, "unknown class `2` (known: cat, dog)"),
            (&pixels(), r#"{"base64": "AP8M"}"#, "3 bytes instead of 4 (1×2×2 of u8)"),
            (&pixels(), r#"{"base64": "AP8MAwAP8MAw"}"#, "base64 of more than 4 bytes (1×2×2 of u8)"),
            (&pixels(), r#"{"base64": "%"}"#, "not base64"),
            (&pixels(), r#"{"values": [1,2"#, "not JSON: EOF while parsing a list in column 15"),
            (&pixels(), "[0, 1, 2, 3] 4", "not JSON: trailing characters in column 14"),
            (&numbers, "[NaN, 1]", "NaN and infinity are refused"),
            (&numbers, "[-Infinity, 1]", "NaN and infinity are refused"),
            (&numbers, "[1e39, 1]", "too large for f32"),
            (&numbers, "[1e999, 1]", "number out of range"),
            (&numbers, r#"{"base64": "AADAfwAAAMA="}"#, "value 0 is NaN"),
        ] {
            let reason = sample(line.as_bytes(), format, &Keys::default()).unwrap_err();
            assert!(reason.contains(says), "{line}: {reason}");
        }
        let long = sample(format!("[\"{}\"]", "x".repeat(1 << 20)).as_bytes(), &pixels(), &Keys::default())
            .unwrap_err();
        assert!(long.len() < 1000 && long.contains("invalid type: string"), "{long}");
        assert!(sample(b"\xff[1]", &pixels(), &Keys::default()).unwrap_err().contains("not UTF-8"));
        assert!(sample("[".repeat(100_000).as_bytes(), &pixels(), &Keys::default()).is_err());
    }
}
