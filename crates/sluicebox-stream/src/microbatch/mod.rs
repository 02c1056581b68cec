//! From sources to micro-batches: mixing, cutting, the step journal, simulated late labels and the
//! near-future test.

pub mod batcher;
pub mod blind_classifier;
pub mod epochs;
pub mod late_labels;
pub mod mix;
pub mod near_future;
pub mod plan;
pub mod saved;
pub mod step_journal;
mod waiting;
