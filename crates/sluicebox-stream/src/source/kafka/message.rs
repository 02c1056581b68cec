//! Decodes a message of a topic into a sample, or into the reason why it is not one. The brokers and librdkafka
//! (`receive.message.max.bytes`) bound its size.

use crate::decode;
use crate::decode::{Keys, PixelRange, Record};
use crate::source::kafka::place::{Envelope, Place};
use crate::source::kafka::schemas::Schemas;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Format, Values};
use sluicebox_core::sample_id::SampleId;

/// Encoding of a sample in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// The message is the sample's values, little-endian.
    Raw,
    /// The message is one JSON object, as in NDJSON files.
    Ndjson,
    /// The same behind the five bytes of a schema registry.
    ConfluentJson,
    /// The message is Avro, behind the five bytes of a schema registry that has its schema.
    Avro,
}

/// A message that waits to be read.
pub struct Message {
    /// Offset in the partition.
    pub offset: i64,
    /// Decoded content.
    pub content: Content,
}

/// Decoded content of a message.
pub enum Content {
    /// A sample.
    Sample {
        /// Id in the message, or an id made of partition and offset.
        id: SampleId,
        /// Whether the id is in the message: then no other sample may have it.
        is_chosen: bool,
        /// `[…]`.
        values: Values,
        /// Label in the message, if any.
        class: Option<usize>,
    },
    /// Nothing: the key was deleted.
    Tombstone,
    /// Content that is not a sample of this job.
    Bad {
        /// Description of the problem.
        reason: String,
        /// Beginning of the message.
        record: String,
    },
}

/// Bytes kept of a bad message; the topic still has all of it.
const KEPT: usize = 2048;

/// Bytes of memory that a message takes besides its values.
const OVERHEAD: usize = 128;

impl Message {
    /// Returns the memory that the message takes, in bytes.
    pub fn bytes(&self) -> usize {
        let content = match &self.content {
            Content::Sample { id, values, .. } => {
                values.len() * values.dtype().bytes() + id.name.as_ref().map_or(0, |name| name.text.len())
            }
            Content::Tombstone => 0,
            Content::Bad { reason, record } => reason.len() + record.len(),
        };
        OVERHEAD + content
    }
}

/// Decodes messages into samples of `format`.
pub struct Decoder {
    /// Encoding of the messages.
    pub encoding: Encoding,
    /// Where the id is.
    pub id: Place,
    /// Where the label is.
    pub label: Place,
    /// Format of the samples.
    pub format: Format,
    /// Keys of samples as objects.
    pub keys: Keys,
    /// Check of the pixels, if the job's views need one.
    pub pixels: Option<PixelRange>,
    /// Schemas of Avro.
    pub schemas: Option<Schemas>,
}

impl Decoder {
    /// Decodes a message; `id` is used if it has no id of its own. Fails if a schema cannot be had.
    pub fn decode(&mut self, id: u64, around: Envelope<'_>, payload: Option<&[u8]>) -> Result<Content> {
        let Some(payload) = payload else { return Ok(Content::Tombstone) };
        let record = match self.encoding {
            Encoding::Raw => decode::array::sample_of_bytes(payload, &self.format).map(|values| Record {
                id: None,
                values,
                class: None,
            }),
            Encoding::Ndjson if framed(payload).is_ok() => Err(FRAMED.into()),
            Encoding::Ndjson => decode::json::sample(payload, &self.format, &self.keys),
            Encoding::ConfluentJson => {
                framed(payload).and_then(|(_, json)| decode::json::sample(json, &self.format, &self.keys))
            }
            Encoding::Avro => self.avro(payload)?,
        };
        let sample = record.and_then(|record| self.sample(id, around, record));
        Ok(sample.unwrap_or_else(|reason| {
            let kept = &payload[..payload.len().min(KEPT)];
            Content::Bad { reason, record: String::from_utf8_lossy(kept).into_owned() }
        }))
    }

    fn avro(&mut self, payload: &[u8]) -> Result<std::result::Result<Record, String>> {
        let (schema, datum) = match framed(payload) {
            Ok(framed) => framed,
            Err(reason) => return Ok(Err(reason)),
        };
        let Some(schemas) = &mut self.schemas else { return Ok(Err("there is no schema registry".into())) };
        Ok(match schemas.get(schema)? {
            Ok(schema) => decode::avro::sample(datum, schema, &self.format, &self.keys),
            Err(reason) => Err(reason.clone()),
        })
    }

    fn sample(&self, id: u64, around: Envelope<'_>, record: Record) -> std::result::Result<Content, String> {
        self.pixels.as_ref().map_or(Ok(()), |pixels| pixels.check(&record.values))?;
        let label = match self.label.is_value() {
            true => record.class,
            false => around.text(&self.label)?.filter(|label| !label.is_empty()).map(String::from),
        };
        let class = label.map(|name| decode::class(&self.format.classes, &name)).transpose()?;
        let chosen = match self.id.is_value() {
            true => record.id,
            false => Some(self.given_id(around)?),
        };
        let is_chosen = chosen.is_some();
        let id = chosen.unwrap_or(SampleId::of_key(id));
        Ok(Content::Sample { id, is_chosen, values: record.values, class })
    }

    fn given_id(&self, around: Envelope<'_>) -> std::result::Result<SampleId, String> {
        let place = self.id.told();
        let text = around.text(&self.id)?;
        let text = text.ok_or_else(|| format!("the message has no {place}, which is the id (source.id)"))?;
        SampleId::plain(text).and_then(decode::chosen).map_err(|reason| format!("the {place}: {reason}"))
    }
}

/// Reason of a message that is framed where it should not be.
const FRAMED: &str = "it begins with the number of a schema, as messages of a schema registry do: set source.encoding = \
                      \"confluent-json\" or \"avro\"";

/// Splits a message into the number of its schema and what is encoded by it: Confluent's wire format.
fn framed(payload: &[u8]) -> std::result::Result<(u32, &[u8]), String> {
    match payload {
        [0, a, b, c, d, rest @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), rest)),
        _ => {
            Err("it does not begin with 0 and the number of a schema, as messages of a schema registry do"
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::message::{Header, OwnedHeaders};
    use sluicebox_core::sample::{Dtype, Shape};

    fn decoder(id: Place, label: Place, encoding: Encoding) -> Decoder {
        let shape = Shape::Vector { features: 1 };
        let format = Format { shape, dtype: Dtype::F32, scale: 1.0, classes: vec!["a".into(), "b".into()] };
        let keys = Keys::default();
        Decoder { encoding, id, label, format, keys, pixels: None, schemas: None }
    }

    fn of(content: Content) -> std::result::Result<(SampleId, bool, Option<usize>), String> {
        match content {
            Content::Sample { id, is_chosen, class, .. } => Ok((id, is_chosen, class)),
            Content::Bad { reason, .. } => Err(reason),
            Content::Tombstone => panic!(),
        }
    }

    fn decoded(
        id: Place,
        key: Option<&[u8]>,
        payload: &str,
    ) -> std::result::Result<(SampleId, bool), String> {
        let mut decoder = decoder(id, Place::Value, Encoding::Ndjson);
        let around = Envelope { key, headers: None };
        of(decoder.decode(70, around, Some(payload.as_bytes())).unwrap()).map(|(id, chosen, _)| (id, chosen))
    }

    #[test]
    fn an_id_is_in_the_value_or_is_the_key() {
        let (named, bare) = (r#"{"id": "x-1", "values": [1]}"#, "[1]");
        let text = |text: &str| SampleId::plain(text).unwrap();
        assert_eq!(decoded(Place::Value, Some(b"k"), named).unwrap().0.key, text("x-1").key);
        assert_eq!(decoded(Place::Value, Some(b"k"), bare), Ok((SampleId::of_key(70), false)));
        assert_eq!(decoded(Place::Key, Some(b"k"), bare), Ok((text("k"), true)));
        assert_eq!(
            decoded(Place::Key, Some(b"9007199254740993"), named).unwrap().0,
            text("9007199254740993")
        );
        for (key, says) in [(None, "has no key"), (Some(&b"\xff"[..]), "not UTF-8"), (Some(b""), "is empty")]
        {
            assert!(decoded(Place::Key, key, bare).unwrap_err().contains(says), "{says}");
        }
    }

    #[test]
    fn an_id_and_a_label_are_in_headers() {
        let header = |key, value: Option<&'static [u8]>| Header { key, value };
        let headers = OwnedHeaders::new()
            .insert(header("class", Some(b"a")))
            .insert(header("trace", Some(b"t-1")))
            .insert(header("class", Some(b"b")))
            .insert(header("none", None))
            .insert(header("bytes", Some(b"\xff")));
        let around = Envelope { key: Some(b"a"), headers: Some(headers.as_borrowed()) };
        let place = |text: &str| Place::try_from(text.to_string()).unwrap();
        let decoded = |id: &str, label: &str| {
            let mut decoder = decoder(place(id), place(label), Encoding::Ndjson);
            of(decoder.decode(70, around, Some(br#"{"values": [1], "label": "a"}"#)).unwrap())
        };
        let of_text = |text: &str| SampleId::plain(text).unwrap();
        assert_eq!(decoded("header:trace", "header:class"), Ok((of_text("t-1"), true, Some(1))));
        assert_eq!(decoded("header:trace", "value"), Ok((of_text("t-1"), true, Some(0))));
        assert_eq!(decoded("value", "key"), Ok((SampleId::of_key(70), false, Some(0))));
        assert_eq!(decoded("value", "header:none"), Ok((SampleId::of_key(70), false, None)));
        assert_eq!(decoded("value", "header:absent"), Ok((SampleId::of_key(70), false, None)));
        assert!(decoded("header:absent", "value").unwrap_err().contains("has no header `absent`"));
        assert!(decoded("header:none", "value").unwrap_err().contains("has no header `none`"));
        assert!(decoded("value", "header:bytes").unwrap_err().contains("header `bytes` is not UTF-8"));
        assert!(decoded("value", "header:trace").unwrap_err().contains("unknown class `t-1`"));
        assert!(Place::try_from("header:".to_string()).is_err());
    }

    #[test]
    fn framed_json_is_read_behind_its_frame() {
        let framed = b"\0\0\0\x01\x02{\"values\": [1], \"label\": \"b\"}";
        let decoded = |encoding, payload: &[u8]| {
            let mut decoder = decoder(Place::Value, Place::Value, encoding);
            of(decoder.decode(70, Envelope::default(), Some(payload)).unwrap())
        };
        let expected = (SampleId::of_key(70), false, Some(1));
        assert_eq!(decoded(Encoding::ConfluentJson, framed), Ok(expected.clone()));
        assert_eq!(decoded(Encoding::Ndjson, &framed[5..]), Ok(expected));
        assert!(decoded(Encoding::Ndjson, framed).unwrap_err().contains("\"confluent-json\""));
        for bad in [&framed[5..], &framed[..4], b""] {
            let reason = decoded(Encoding::ConfluentJson, bad).unwrap_err();
            assert!(reason.contains("does not begin with 0 and the number of a schema"), "{reason}");
        }
    }
}
