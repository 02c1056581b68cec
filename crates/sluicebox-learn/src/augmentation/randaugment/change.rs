//! An operation on one sample, and helpers of the files that apply many of them at once.

use crate::augmentation::randaugment::ranges::Op;
use tch::{Device, Kind, Tensor};

/// An operation on one sample.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The sample's place in the batch.
    pub sample: i64,
    /// The operation.
    pub op: Op,
    /// Amount in the operation's own unit (see [`Op`]).
    pub amount: f64,
}

/// Truncates levels from 0 to 255 to u8.
pub fn whole(levels: Tensor) -> Tensor {
    halfway(levels).to_kind(Kind::Uint8)
}

/// Truncates levels that are to become u8 to 16 bits on a CPU, which makes it five times as fast there.
pub fn halfway(levels: Tensor) -> Tensor {
    match levels.device() {
        Device::Cpu => levels.to_kind(Kind::Int16),
        _ => levels,
    }
}

/// Counts the `changes` that apply `op`.
pub fn count(changes: &[Change], op: Op) -> i64 {
    changes.iter().filter(|change| change.op == op).count() as i64
}
