//! The micro-batcher's section of a checkpoint.

use crate::microbatch::late_labels;
use crate::microbatch::near_future::NearFuture;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sluicebox_core::error::Result;
use sluicebox_core::state::{Section, Sections, decode, encode};

/// Owner of the section, in messages.
const OWNER: &str = "the sources";

/// What a resumed micro-batcher begins with.
#[derive(Serialize, Deserialize)]
pub struct SavedBatcher {
    /// Position of each source.
    sources: Vec<ByteBuf>,
    /// Position of the late labels.
    pub labels: late_labels::Position,
    /// Samples of the stream so far.
    pub streamed: u64,
    /// State of the near-future test.
    pub near_future: NearFuture,
}

impl SavedBatcher {
    /// Collects what is saved; `sources` are the positions of the sources.
    pub fn new(
        sources: &[Vec<u8>],
        labels: late_labels::Position,
        streamed: u64,
        near_future: NearFuture,
    ) -> Self {
        let sources = sources.iter().cloned().map(ByteBuf::from).collect();
        Self { sources, labels, streamed, near_future }
    }

    /// Adds the section to those of a checkpoint.
    pub fn save_into(&self, sections: &mut Sections) -> Result<()> {
        sections.put(Section::Source, encode(OWNER, self)?);
        Ok(())
    }

    /// Reads the section.
    pub fn load(section: &[u8]) -> Result<Self> {
        decode(OWNER, section)
    }

    /// Returns the position of each source.
    pub fn sources(&self) -> Vec<Vec<u8>> {
        self.sources.iter().map(|state| state.to_vec()).collect()
    }
}

/// Returns the position of each source from a saved section.
pub fn source_states(section: &[u8]) -> Result<Vec<Vec<u8>>> {
    Ok(SavedBatcher::load(section)?.sources())
}
