//! What a checkpoint holds of the ingest gate, so that a sample which is sent again is known after a restart, also
//! where the log was trimmed or lost: ids and the progress of feeders.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sluicebox_core::error::Result;
use sluicebox_core::state::{decode, encode};

/// A key and a value that become durable together with samples. The value begins with a count (`u64`,
/// little-endian) that only grows.
pub type Mark = (Vec<u8>, Vec<u8>);

/// Returns the count of a mark's value.
pub fn count(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |count| u64::from_le_bytes(*count))
}

/// Owner of the section, in messages.
const OWNER: &str = "the ingest gate";

/// The section.
#[derive(Serialize, Deserialize)]
pub struct SavedIngest {
    /// Ids of samples that were trained on, as [`crate::ingest::known_ids::KnownIds`] writes them.
    pub ids: ByteBuf,
    marks: Vec<(ByteBuf, ByteBuf)>,
}

impl SavedIngest {
    /// Collects what is saved.
    pub fn new(ids: Vec<u8>, marks: Vec<Mark>) -> Self {
        let marks = marks.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self { ids: ids.into(), marks }
    }

    /// Returns it as bytes.
    pub fn save(&self) -> Result<Vec<u8>> {
        encode(OWNER, self)
    }

    /// Reads the section.
    pub fn load(section: &[u8]) -> Result<Self> {
        decode(OWNER, section)
    }

    /// Returns the marks of the log.
    pub fn marks(&self) -> impl Iterator<Item = Mark> {
        self.marks.iter().map(|(key, value)| (key.to_vec(), value.to_vec()))
    }
}
