//! From a message of a topic to a sample, or to the reason why it is none.

use crate::decode::{self, Record};
use crate::intake::sample_bytes;
use crate::samples::{Format, Values};
use serde::{Deserialize, Serialize};

/// How a message holds a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Its bytes are the sample's values, little-endian.
    Raw,
    /// It is one JSON object, as in NDJSON files.
    Ndjson,
}

/// A message that waits to be read.
pub struct Message {
    /// Its place in the partition.
    pub offset: i64,
    /// What it holds.
    pub content: Content,
}

/// What a message holds.
pub enum Content {
    /// A sample.
    Sample {
        /// The message's own id, or one made of its place.
        id: u64,
        /// `[…]`.
        values: Values,
        /// What it says of its class.
        class: Option<usize>,
    },
    /// Nothing: what was under this key is deleted.
    Tombstone,
    /// Something that is no sample of this job.
    Bad {
        /// What is wrong.
        reason: String,
        /// The beginning of the message.
        record: String,
    },
}

/// Bytes of a bad message that are kept: the topic still has the whole.
const KEPT: usize = 2048;

/// Bytes that a message takes beside its values.
const OVERHEAD: usize = 128;

impl Message {
    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let content = match &self.content {
            Content::Sample { values, .. } => values.len() * values.dtype().bytes(),
            Content::Tombstone => 0,
            Content::Bad { reason, record } => reason.len() + record.len(),
        };
        OVERHEAD + content
    }
}

/// Reads messages as samples of `format`.
pub struct Decoder {
    /// How messages hold samples.
    pub encoding: Encoding,
    /// What samples look like.
    pub format: Format,
}

impl Decoder {
    /// What the message with `payload` holds; its place makes the id `id`.
    pub fn decode(&self, id: u64, payload: Option<&[u8]>) -> Content {
        let Some(payload) = payload else { return Content::Tombstone };
        let record = match self.encoding {
            Encoding::Raw => self.raw(payload),
            Encoding::Ndjson => decode::parse(payload, &self.format),
        };
        record.and_then(|record| self.sample(id, record)).unwrap_or_else(|reason| {
            let kept = &payload[..payload.len().min(KEPT)];
            Content::Bad { reason, record: String::from_utf8_lossy(kept).into_owned() }
        })
    }

    fn raw(&self, payload: &[u8]) -> Result<Record, String> {
        let size = sample_bytes(&self.format);
        if payload.len() != size {
            let (shape, dtype) = (self.format.shape, self.format.dtype.name());
            return Err(format!("{} bytes instead of {size} ({shape} of {dtype})", payload.len()));
        }
        let values = decode::array::little_endian(self.format.dtype, payload)?;
        Ok(Record { id: None, values, class: None })
    }

    fn sample(&self, id: u64, record: Record) -> Result<Content, String> {
        let class = record.class.map(|name| decode::class(&self.format.classes, &name)).transpose()?;
        Ok(Content::Sample { id: record.id.unwrap_or(id), values: record.values, class })
    }
}
