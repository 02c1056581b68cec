//! batch: turns plain data into tensors on the device and adds labelled samples.

use super::{Failure, each_step};
use crate::data::{Batch, Chunk};
use crate::student::batcher::Batcher;
use timely::dataflow::StreamVec;

/// Turns each micro-batch into a batch.
pub fn batch<'scope>(
    chunks: StreamVec<'scope, u64, Chunk>,
    mut batcher: Batcher,
    failure: &Failure,
) -> StreamVec<'scope, u64, Batch> {
    each_step(chunks, "batch", failure, move |chunk| batcher.batch(chunk))
}
