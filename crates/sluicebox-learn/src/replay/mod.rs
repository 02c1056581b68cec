//! Replay: labelled samples, and samples that wait for a label.

pub mod awaiting_labels;
pub mod buffer;
pub mod recency;
