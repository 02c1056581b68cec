//! Replay: labelled samples, and samples that wait for a label.

pub mod awaiting_labels;
pub mod buffer;
pub mod draw;
pub mod recency;

#[cfg(test)]
mod tests;
