//! Decodes a message of a topic into a sample, or into the reason why it is not one. The brokers and librdkafka
//! (`receive.message.max.bytes`) bound its size.

use crate::decode;
use crate::decode::{PixelRange, Record};
use serde::{Deserialize, Serialize};
use sluicebox_core::sample::{Format, Values};

/// Encoding of a sample in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// The message is the sample's values, little-endian.
    Raw,
    /// The message is one JSON object, as in NDJSON files.
    Ndjson,
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
        id: u64,
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
            Content::Sample { values, .. } => values.len() * values.dtype().bytes(),
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
    /// Format of the samples.
    pub format: Format,
    /// Check of the pixels, if the job's views need one.
    pub pixels: Option<PixelRange>,
}

impl Decoder {
    /// Decodes `payload`; `id` is used if the message has no id of its own.
    pub fn decode(&self, id: u64, payload: Option<&[u8]>) -> Content {
        let Some(payload) = payload else { return Content::Tombstone };
        let record = match self.encoding {
            Encoding::Raw => decode::array::sample_of_bytes(payload, &self.format).map(|values| Record {
                id: None,
                values,
                class: None,
            }),
            Encoding::Ndjson => decode::json::sample(payload, &self.format),
        };
        record.and_then(|record| self.sample(id, record)).unwrap_or_else(|reason| {
            let kept = &payload[..payload.len().min(KEPT)];
            Content::Bad { reason, record: String::from_utf8_lossy(kept).into_owned() }
        })
    }

    fn sample(&self, id: u64, record: Record) -> Result<Content, String> {
        self.pixels.as_ref().map_or(Ok(()), |pixels| pixels.check(&record.values))?;
        let class = record.class.map(|name| decode::class(&self.format.classes, &name)).transpose()?;
        Ok(Content::Sample { id: record.id.unwrap_or(id), values: record.values, class })
    }
}
