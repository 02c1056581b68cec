//! The batch stage: plain data becomes tensors on the device, and the step's labelled samples
//! come from the memory.

use super::memory::Memory;
use crate::data::{Batch, Chunk};
use crate::device::Compute;
use crate::error::Result;
use crate::randomness::Randomness;
use crate::samples::{Format, scaled};

/// Makes batches, and owns the memory.
pub struct Batcher {
    /// The labelled samples that are known.
    pub memory: Memory,
    labelled: usize,
    format: Format,
    randomness: Randomness,
    compute: Compute,
}

impl Batcher {
    /// Batches of `labelled` labelled samples and whatever a chunk holds.
    pub fn new(
        memory: Memory,
        labelled: usize,
        format: Format,
        randomness: Randomness,
        compute: Compute,
    ) -> Self {
        Self { memory, labelled, format, randomness, compute }
    }

    /// The tensors of a step.
    pub fn batch(&mut self, chunk: Chunk) -> Result<Batch> {
        let Chunk { mut ticket, labelled, values } = chunk;
        if let Some(new) = labelled {
            self.memory.add(new);
        }
        let labelled = match ticket.barrier {
            true => None,
            false => self.memory.draw(self.labelled, ticket.step, self.randomness, self.compute),
        };
        let raw = self.compute.upload(&values.tensor(self.format.shape));
        let unlabelled = scaled(&raw, self.format.scale);
        if let Some(snapshot) = &mut ticket.snapshot {
            snapshot.sections.insert("memory".into(), self.memory.snapshot()?);
        }
        let labels_known = self.memory.len() as u64;
        Ok(Batch { ticket, labelled, labels_known, unlabelled })
    }
}
