//! Samples to look at: thumbnails of images.

use crate::sample::{Format, Shape, Values};
use crate::sample_id::{NAMED_IDS, SampleId};
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// Samples picked per step.
const A_STEP: usize = 2;

/// A sample to show, with its pseudo-label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Thumbnail {
    /// The sample's id; JSON has a large number as text, because a browser would round it.
    #[serde(serialize_with = "for_browsers")]
    pub id: SampleId,
    /// The epoch in which it streamed by.
    pub epoch: u64,
    /// Class of the pseudo-label.
    pub given: u32,
    /// Confidence of the pseudo-label, 0 to 1.
    pub confidence: f32,
    /// Whether it passed the filter.
    pub accepted: bool,
    /// Its label, or the true class if its source knows it.
    pub truth: Option<u32>,
    /// `[height, width, channels]`, channels 1 or 3.
    pub shape: [u32; 3],
    /// Pixels, row by row, channels last.
    #[serde(skip)]
    pub pixels: Arc<[u8]>,
}

fn for_browsers<S: Serializer>(id: &SampleId, serializer: S) -> Result<S::Ok, S::Error> {
    match id.key < NAMED_IDS {
        true => id.serialize(serializer),
        false => serializer.collect_str(id),
    }
}

/// A picked sample on its way through the dataflow.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The sample's id.
    pub id: SampleId,
    /// Position in the step; none if only its label came in this step.
    pub at: Option<usize>,
    /// `[height, width, channels]`.
    pub shape: [u32; 3],
    /// Pixels, channels last.
    pub pixels: Arc<[u8]>,
}

impl Candidate {
    /// Returns the sample `id` at `offset` values of `values`; none if it is not an image.
    pub fn new(
        id: SampleId,
        at: Option<usize>,
        values: &Values,
        offset: usize,
        format: &Format,
    ) -> Option<Self> {
        let Shape::Image { channels, height, width } = format.shape else { return None };
        let brightest = 255.0 * format.scale;
        let pixel = |index: usize| match values {
            Values::U8(bytes) => (f32::from(bytes[index]) * brightest).round() as u8,
            Values::F32(numbers) => (numbers[index] * brightest).round() as u8,
        };
        let shown = if channels >= 3 { 3 } else { 1 };
        let place = |index: usize| {
            let (at, channel) = (index / shown, index % shown);
            pixel(offset + channel * height * width + at)
        };
        let pixels = (0..height * width * shown).map(place).collect();
        Some(Self { id, at, shape: [height as u32, width as u32, shown as u32], pixels })
    }

    /// Picks a few of the `count` samples of step `step`; `id` returns that of one.
    pub fn some(
        step: u64,
        count: usize,
        id: impl Fn(usize) -> SampleId,
        values: &Values,
        format: &Format,
    ) -> Vec<Self> {
        let length = format.shape.len();
        let places = (0..A_STEP.min(count)).map(|pick| {
            // Positions are far apart, and differ between steps.
            (step as usize).wrapping_mul(7919).wrapping_add(pick * count / A_STEP) % count
        });
        places.filter_map(|at| Self::new(id(at), Some(at), values, at * length, format)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Dtype;

    fn format() -> Format {
        let shape = Shape::Image { channels: 3, height: 1, width: 2 };
        Format { shape, dtype: Dtype::U8, scale: 1.0 / 255.0, classes: vec!["a".into(), "b".into()] }
    }

    #[test]
    fn channels_come_last_and_the_scale_is_undone() {
        let values = Values::U8(vec![9, 9, 9, 9, 9, 9, 1, 2, 3, 4, 5, 6]);
        let pick = Candidate::new(SampleId::of_key(7), None, &values, 6, &format()).unwrap();
        assert_eq!(pick.pixels[..], [1, 3, 5, 2, 4, 6]);
        assert_eq!(pick.shape, [1, 2, 3]);
    }
}
