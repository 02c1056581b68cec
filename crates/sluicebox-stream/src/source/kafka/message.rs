//! Decodes a message of a topic into a sample, or into the reason why it is not one. The brokers and librdkafka
//! (`receive.message.max.bytes`) bound its size.

use crate::decode;
use crate::decode::{PixelRange, Record};
use serde::{Deserialize, Serialize};
use sluicebox_core::sample::{Format, Values};
use sluicebox_core::sample_id::SampleId;

/// Encoding of a sample in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// The message is the sample's values, little-endian.
    Raw,
    /// The message is one JSON object, as in NDJSON files.
    Ndjson,
}

/// Where the id of a sample is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdFrom {
    /// In the JSON object; a message without one gets an id made of its partition and offset.
    #[default]
    Value,
    /// The key of the message, as text.
    Key,
}

impl IdFrom {
    /// Returns whether it is in the value, which is the default.
    pub fn is_value(&self) -> bool {
        *self == IdFrom::Value
    }
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
        /// Class in the message, if any.
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
    pub id: IdFrom,
    /// Format of the samples.
    pub format: Format,
    /// Check of the pixels, if the job's views need one.
    pub pixels: Option<PixelRange>,
}

impl Decoder {
    /// Decodes a message; `id` is used if it has no id of its own.
    pub fn decode(&self, id: u64, key: Option<&[u8]>, payload: Option<&[u8]>) -> Content {
        let Some(payload) = payload else { return Content::Tombstone };
        let record = match self.encoding {
            Encoding::Raw => decode::array::sample_of_bytes(payload, &self.format).map(|values| Record {
                id: None,
                values,
                class: None,
            }),
            Encoding::Ndjson => decode::json::sample(payload, &self.format, &decode::Keys::default()),
        };
        record.and_then(|record| self.sample(id, key, record)).unwrap_or_else(|reason| {
            let kept = &payload[..payload.len().min(KEPT)];
            Content::Bad { reason, record: String::from_utf8_lossy(kept).into_owned() }
        })
    }

    fn sample(&self, id: u64, key: Option<&[u8]>, record: Record) -> Result<Content, String> {
        self.pixels.as_ref().map_or(Ok(()), |pixels| pixels.check(&record.values))?;
        let class = record.class.map(|name| decode::class(&self.format.classes, &name)).transpose()?;
        let chosen = match self.id {
            IdFrom::Value => record.id,
            IdFrom::Key => Some(of_key(key)?),
        };
        let is_chosen = chosen.is_some();
        let id = chosen.unwrap_or(SampleId::of_key(id));
        Ok(Content::Sample { id, is_chosen, values: record.values, class })
    }
}

fn of_key(key: Option<&[u8]>) -> Result<SampleId, String> {
    let key = key.ok_or("the message has no key, which is the id (source.id)")?;
    let text = std::str::from_utf8(key).map_err(|error| format!("the key is not UTF-8: {error}"))?;
    SampleId::plain(text).and_then(decode::chosen).map_err(|reason| format!("the key: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::{Dtype, Shape};

    fn decoded(id: IdFrom, key: Option<&[u8]>, payload: &str) -> Result<(SampleId, bool), String> {
        let shape = Shape::Vector { features: 1 };
        let format = Format { shape, dtype: Dtype::F32, scale: 1.0, classes: vec!["a".into(), "b".into()] };
        let decoder = Decoder { encoding: Encoding::Ndjson, id, format, pixels: None };
        match decoder.decode(70, key, Some(payload.as_bytes())) {
            Content::Sample { id, is_chosen, .. } => Ok((id, is_chosen)),
            Content::Bad { reason, .. } => Err(reason),
            Content::Tombstone => panic!(),
        }
    }

    #[test]
    fn an_id_is_in_the_value_or_is_the_key() {
        let (named, bare) = (r#"{"id": "x-1", "values": [1]}"#, "[1]");
        let text = |text: &str| SampleId::plain(text).unwrap();
        assert_eq!(decoded(IdFrom::Value, Some(b"k"), named).unwrap().0.key, text("x-1").key);
        assert_eq!(decoded(IdFrom::Value, Some(b"k"), bare), Ok((SampleId::of_key(70), false)));
        assert_eq!(decoded(IdFrom::Key, Some(b"k"), bare), Ok((text("k"), true)));
        assert_eq!(
            decoded(IdFrom::Key, Some(b"9007199254740993"), named).unwrap().0,
            text("9007199254740993")
        );
        for (key, says) in [(None, "has no key"), (Some(&b"\xff"[..]), "not UTF-8"), (Some(b""), "is empty")]
        {
            assert!(decoded(IdFrom::Key, key, bare).unwrap_err().contains(says), "{says}");
        }
    }
}
