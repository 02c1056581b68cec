//! Thumbnails: a bounded choice of accepted and rejected samples, and of those whose pseudo-label contradicts
//! the label or the true class. `batch` picks a few samples per step before they go to the device; their
//! pseudo-labels are known after the readback of the step.

use crate::ledger::Disagreement;
use crate::samples::{Format, Shape, Values};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Samples picked per step.
const A_STEP: usize = 2;
/// Samples shown of each kind.
const SHOWN: usize = 48;
/// Labelled samples that are kept until the ledger lists them as disagreements.
const WAITING: usize = 512;

/// A sample to show, with its pseudo-label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Thumbnail {
    /// The sample's id.
    pub id: u64,
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

/// Thumbnails, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Wall {
    /// Samples that passed the filter.
    pub accepted: VecDeque<Thumbnail>,
    /// Samples that the filter rejected.
    pub rejected: VecDeque<Thumbnail>,
    /// Samples whose pseudo-label contradicts their label or true class.
    pub disagreeing: VecDeque<Thumbnail>,
}

/// A picked sample on its way through the dataflow.
#[derive(Debug, Clone)]
pub struct Pick {
    /// The sample's id.
    pub id: u64,
    /// Position in the step; none if only its label came in this step.
    pub at: Option<usize>,
    /// `[height, width, channels]`.
    pub shape: [u32; 3],
    /// Pixels, channels last.
    pub pixels: Arc<[u8]>,
}

impl Pick {
    /// Returns the sample `id` at `offset` values of `values`; none if it is not an image.
    pub fn new(id: u64, at: Option<usize>, values: &Values, offset: usize, format: &Format) -> Option<Self> {
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

    /// Picks a few samples of step `step`, whose samples have `ids`.
    pub fn some(step: u64, ids: &[u64], values: &Values, format: &Format) -> Vec<Self> {
        let length = format.shape.len();
        let places = (0..A_STEP.min(ids.len())).map(|pick| {
            // Positions are far apart, and differ between steps.
            (step as usize).wrapping_mul(7919).wrapping_add(pick * ids.len() / A_STEP) % ids.len()
        });
        places.filter_map(|at| Self::new(ids[at], Some(at), values, at * length, format)).collect()
    }
}

/// Collects the thumbnails of a job that shows them.
#[derive(Debug)]
pub struct Gallery {
    wall: Arc<Mutex<Wall>>,
    labelled: VecDeque<Pick>,
}

impl Gallery {
    /// Returns a gallery that writes to `wall`.
    pub fn new(wall: Arc<Mutex<Wall>>) -> Self {
        Self { wall, labelled: VecDeque::new() }
    }

    /// Adds a sample whose pseudo-label is known.
    pub fn hang(&mut self, thumbnail: Thumbnail) {
        let mut wall = self.wall.lock().unwrap_or_else(PoisonError::into_inner);
        if thumbnail.truth.is_some_and(|truth| truth != thumbnail.given) {
            put(&mut wall.disagreeing, thumbnail.clone());
        }
        let side = if thumbnail.accepted { &mut wall.accepted } else { &mut wall.rejected };
        put(side, thumbnail);
    }

    /// Keeps samples whose label has come.
    pub fn expect(&mut self, picks: Vec<Pick>) {
        picks.into_iter().for_each(|pick| self.labelled.push_front(pick));
        self.labelled.truncate(WAITING);
    }

    /// Adds the kept samples that are among the ledger's newest disagreements.
    pub fn disagree(&mut self, epoch: u64, newest: &[Disagreement]) {
        for disagreement in newest {
            let Some(at) = self.labelled.iter().position(|pick| pick.id == disagreement.id) else { continue };
            let Some(Pick { id, shape, pixels, .. }) = self.labelled.remove(at) else { continue };
            let thumbnail = Thumbnail {
                id,
                epoch,
                given: disagreement.judged,
                confidence: disagreement.confidence,
                accepted: disagreement.accepted,
                truth: Some(disagreement.given),
                shape,
                pixels,
            };
            let mut wall = self.wall.lock().unwrap_or_else(PoisonError::into_inner);
            put(&mut wall.disagreeing, thumbnail);
        }
    }
}

fn put(side: &mut VecDeque<Thumbnail>, thumbnail: Thumbnail) {
    side.retain(|other| other.id != thumbnail.id);
    side.push_front(thumbnail);
    side.truncate(SHOWN);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Dtype;

    fn format() -> Format {
        let shape = Shape::Image { channels: 3, height: 1, width: 2 };
        Format { shape, dtype: Dtype::U8, scale: 1.0 / 255.0, classes: vec!["a".into(), "b".into()] }
    }

    #[test]
    fn channels_come_last_and_the_scale_is_undone() {
        let values = Values::U8(vec![9, 9, 9, 9, 9, 9, 1, 2, 3, 4, 5, 6]);
        let pick = Pick::new(7, None, &values, 6, &format()).unwrap();
        assert_eq!(pick.pixels[..], [1, 3, 5, 2, 4, 6]);
        assert_eq!(pick.shape, [1, 2, 3]);
    }

    #[test]
    fn the_wall_is_bounded_and_shows_what_is_wrong() {
        let wall = Arc::new(Mutex::new(Wall::default()));
        let mut gallery = Gallery::new(wall.clone());
        let pick = Pick::new(1, None, &Values::U8(vec![0; 6]), 0, &format()).unwrap();
        let Pick { shape, pixels, .. } = pick.clone();
        for id in 0..200 {
            let (given, confidence, accepted) = (1, 0.5, id % 2 == 0);
            let (truth, pixels) = (Some((id % 4 == 0).into()), pixels.clone());
            gallery.hang(Thumbnail { id, epoch: 1, given, confidence, accepted, truth, shape, pixels });
        }
        gallery.expect(vec![Pick { id: 1000, ..pick }]);
        let newest = [Disagreement { id: 1000, judged: 0, confidence: 0.9, given: 1, accepted: true }];
        gallery.disagree(3, &newest);
        let wall = wall.lock().unwrap();
        assert_eq!([wall.accepted.len(), wall.rejected.len(), wall.disagreeing.len()], [SHOWN; 3]);
        assert_eq!(wall.disagreeing[0].id, 1000);
        assert!(wall.disagreeing.iter().all(|thumbnail| thumbnail.truth != Some(thumbnail.given)));
    }
}
