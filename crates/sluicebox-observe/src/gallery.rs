//! Thumbnails: a bounded choice of accepted and rejected samples, and of those whose pseudo-label contradicts
//! the label or the true class. `batch` picks a few samples per step before they go to the device; their
//! pseudo-labels are known after the readback of the step.

use parking_lot::Mutex;
use serde::Serialize;
use sluicebox_core::report::ledger::Disagreement;
use sluicebox_core::report::thumbnail::{Candidate, Thumbnail};
use std::collections::VecDeque;
use std::sync::Arc;

/// Samples shown of each kind.
const SHOWN: usize = 48;

/// Labelled samples that are kept until the ledger lists them as disagreements.
const WAITING: usize = 512;

/// Thumbnails, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Thumbnails {
    /// Samples that passed the filter.
    pub accepted: VecDeque<Thumbnail>,
    /// Samples that the filter rejected.
    pub rejected: VecDeque<Thumbnail>,
    /// Samples whose pseudo-label contradicts their label or true class.
    pub disagreeing: VecDeque<Thumbnail>,
}

/// Collects the thumbnails of a job that shows them.
#[derive(Debug)]
pub struct Gallery {
    thumbnails: Arc<Mutex<Thumbnails>>,
    labelled: VecDeque<Candidate>,
}

impl Gallery {
    /// Returns a gallery that writes to `thumbnails`.
    pub fn new(thumbnails: Arc<Mutex<Thumbnails>>) -> Self {
        Self { thumbnails, labelled: VecDeque::new() }
    }

    /// Adds a sample whose pseudo-label is known.
    pub fn add(&mut self, thumbnail: Thumbnail) {
        let mut thumbnails = self.thumbnails.lock();
        if thumbnail.truth.is_some_and(|truth| truth != thumbnail.given) {
            put(&mut thumbnails.disagreeing, thumbnail.clone());
        }
        let side = if thumbnail.accepted { &mut thumbnails.accepted } else { &mut thumbnails.rejected };
        put(side, thumbnail);
    }

    /// Keeps samples whose label has come.
    pub fn keep_labelled(&mut self, candidates: Vec<Candidate>) {
        candidates.into_iter().for_each(|candidate| self.labelled.push_front(candidate));
        self.labelled.truncate(WAITING);
    }

    /// Adds the kept samples that are among the ledger's newest disagreements.
    pub fn add_disagreements(&mut self, epoch: u64, newest: &[Disagreement]) {
        for disagreement in newest {
            let Some(at) = self.labelled.iter().position(|candidate| candidate.id.key == disagreement.id.key)
            else {
                continue;
            };
            let Some(Candidate { shape, pixels, .. }) = self.labelled.remove(at) else { continue };
            let thumbnail = Thumbnail {
                id: disagreement.id.clone(),
                epoch,
                given: disagreement.judged,
                confidence: disagreement.confidence,
                accepted: disagreement.accepted,
                truth: Some(disagreement.given),
                shape,
                pixels,
            };
            let mut thumbnails = self.thumbnails.lock();
            put(&mut thumbnails.disagreeing, thumbnail);
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
    use sluicebox_core::sample::{Dtype, Format, Shape, Values};
    use sluicebox_core::sample_id::SampleId;

    fn format() -> Format {
        let shape = Shape::Image { channels: 3, height: 1, width: 2 };
        Format { shape, dtype: Dtype::U8, scale: 1.0 / 255.0, classes: vec!["a".into(), "b".into()] }
    }

    #[test]
    fn the_wall_is_bounded_and_shows_what_is_wrong() {
        let thumbnails = Arc::new(Mutex::new(Thumbnails::default()));
        let mut gallery = Gallery::new(thumbnails.clone());
        let candidate =
            Candidate::new(SampleId::of_key(1), None, &Values::U8(vec![0; 6]), 0, &format()).unwrap();
        let Candidate { shape, pixels, .. } = candidate.clone();
        for id in 0..200 {
            let (given, confidence, accepted) = (1, 0.5, id % 2 == 0);
            let (truth, pixels) = (Some((id % 4 == 0).into()), pixels.clone());
            let id = SampleId::of_key(id);
            gallery.add(Thumbnail { id, epoch: 1, given, confidence, accepted, truth, shape, pixels });
        }
        gallery.keep_labelled(vec![Candidate { id: SampleId::of_key(1000), ..candidate }]);
        let newest = [Disagreement {
            id: SampleId::number(1000),
            judged: 0,
            confidence: 0.9,
            given: 1,
            accepted: true,
        }];
        gallery.add_disagreements(3, &newest);
        let thumbnails = thumbnails.lock();
        assert_eq!(
            [thumbnails.accepted.len(), thumbnails.rejected.len(), thumbnails.disagreeing.len()],
            [SHOWN; 3]
        );
        assert_eq!(thumbnails.disagreeing[0].id.key, 1000);
        assert!(thumbnails.disagreeing.iter().all(|thumbnail| thumbnail.truth != Some(thumbnail.given)));
    }
}
