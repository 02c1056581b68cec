//! batch: turns plain data into tensors on the device and adds labelled samples.

use crate::engine::flow::{Failure, each_step};
use sluicebox_core::step::MicroBatch;
use sluicebox_learn::messages::Batch;
use sluicebox_learn::stages::collate::Collate;
use timely::dataflow::StreamVec;

/// Turns each micro-batch into a batch.
pub fn batch<'scope>(
    chunks: StreamVec<'scope, u64, MicroBatch>,
    mut batcher: Collate,
    failure: &Failure,
) -> StreamVec<'scope, u64, Batch> {
    each_step(chunks, "batch", failure, move |chunk| batcher.batch(chunk))
}
