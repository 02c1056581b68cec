//! A label in the form in which clients send it.

use crate::decode::json;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use sluicebox_core::sample_id::SampleId;
use std::fmt;

/// A label as one JSON object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelMessage {
    /// The sample's id.
    pub id: SampleId,
    /// Name of the class, or its number in digits, which JSON may also give as a number. None, null in JSON,
    /// withdraws the label. Required.
    pub class: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    id: SampleId,
    #[serde(deserialize_with = "json::class")]
    class: Option<String>,
}

/// By the names of its fields only: in an array nobody knows which is which.
impl<'de> Deserialize<'de> for LabelMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = LabelMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `id` and `class`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LabelMessage, A::Error> {
        let Fields { id, class } = Fields::deserialize(MapAccessDeserializer::new(map))?;
        Ok(LabelMessage { id, class })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_an_object() {
        let read = |text: &str| serde_json::from_str::<LabelMessage>(text).map_err(|error| error.to_string());
        let label = LabelMessage { id: SampleId::number(7), class: Some("2".into()) };
        assert_eq!(read(r#"{"class": 2, "id": 7.0}"#), Ok(label));
        assert!(read(r#"{"id": 7, "class": null}"#).is_ok_and(|label| label.class.is_none()));
        for (bad, says) in [
            (r#"[7, "cat"]"#, "expected an object with `id` and `class`"),
            ("7", "expected an object with `id` and `class`"),
            (r#"{"id": 7}"#, "missing field `class`"),
            (r#"{"id": 7, "class": "a", "class": "b"}"#, "duplicate field `class`"),
            (r#"{"id": 7, "label": "a"}"#, "unknown field `label`"),
        ] {
            assert!(read(bad).unwrap_err().contains(says), "{bad}");
        }
    }
}
