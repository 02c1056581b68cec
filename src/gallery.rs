//! Samples to look at: a bounded choice of what was accepted, rejected, and judged otherwise than
//! its label or truth says.

use serde::Serialize;

/// A sample that can be shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Thumbnail {
    /// The sample's id.
    pub id: u64,
    /// The epoch in which it streamed by.
    pub epoch: u64,
    /// The class the teacher gave it.
    pub given: u32,
    /// With what probability.
    pub confidence: f32,
    /// It passed the filter.
    pub accepted: bool,
    /// Its label, or what its source knows.
    pub truth: Option<u32>,
    /// `[height, width, channels]`, channels 1 or 3.
    pub shape: [u32; 3],
    /// The pixels, row by row, channels last.
    #[serde(skip)]
    pub pixels: Vec<u8>,
}

/// The newest choice, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Wall {
    /// Passed the filter.
    pub accepted: Vec<Thumbnail>,
    /// Did not.
    pub rejected: Vec<Thumbnail>,
    /// Judged otherwise than the label that came, or than the source knows.
    pub disagreeing: Vec<Thumbnail>,
}
