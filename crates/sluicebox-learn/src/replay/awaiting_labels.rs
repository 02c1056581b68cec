//! Samples awaiting a label: the newest samples of the stream with their values, bounded, so that a
//! late label can still be learned from. Also labels awaiting their sample, kept as long.

use crate::id_ring::IdRing;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Shape, Values};
use sluicebox_core::state::{Stateful, decode, encode};
use std::collections::{BTreeMap, VecDeque};

/// Class that stands for a withdrawal awaiting its sample.
const WITHDRAWN: u32 = u32::MAX;

/// Ring buffer of samples. A repeated id refers to the newer sample.
pub struct LabelWindow {
    shape: Shape,
    capacity: usize,
    held: Held,
}

/// Checkpointed state.
#[derive(Serialize, Deserialize)]
struct Held {
    /// `[count, …]` sample values.
    values: Option<Values>,
    ring: IdRing,
    /// Number of samples pushed so far.
    streamed: u64,
    /// Classes of labels awaiting their sample, by id; [`WITHDRAWN`] where the label was withdrawn.
    early: BTreeMap<u64, u32>,
    /// Ids of those labels, oldest first, each with the value of `streamed` when the label came.
    waiting: VecDeque<(u64, u64)>,
}

impl LabelWindow {
    /// Creates an empty ring of `capacity` samples.
    pub fn new(shape: Shape, capacity: usize) -> Self {
        let (early, waiting) = (BTreeMap::new(), VecDeque::new());
        let held = Held { values: None, ring: IdRing::default(), streamed: 0, early, waiting };
        Self { shape, capacity, held }
    }

    /// Adds a sample, whose values begin at `at`. Returns its class if its label came before it.
    pub fn push(&mut self, id: u64, values: &Values, at: usize) -> Option<u32> {
        let (length, held) = (self.shape.len(), &mut self.held);
        let ring = held.values.get_or_insert_with(|| Values::none(values.dtype()));
        let place = held.ring.push(id, self.capacity);
        match place * length == ring.len() {
            true => ring.extend_from(values, at..at + length),
            false => ring.copy_from(place * length, values, at..at + length),
        }
        held.streamed += 1;
        self.expire();
        self.held.early.remove(&id).filter(|class| *class != WITHDRAWN)
    }

    /// Returns the buffer that holds a sample's values, and the offset at which they begin.
    pub fn find(&self, id: u64) -> Option<(&Values, usize)> {
        let place = self.held.ring.find(id)?;
        Some((self.held.values.as_ref()?, place * self.shape.len()))
    }

    /// Returns every sample in the ring, oldest first.
    pub fn samples(&self) -> impl Iterator<Item = (u64, Values)> + '_ {
        let length = self.shape.len();
        self.held.values.iter().flat_map(move |ring| {
            self.held.ring.oldest_first().map(move |(id, place)| {
                let mut values = Values::none(ring.dtype());
                values.extend_from(ring, place * length..(place + 1) * length);
                (id, values)
            })
        })
    }

    /// Returns whether a label, or its withdrawal, awaits this sample: it counts, and not one that comes with the sample.
    pub fn expects(&self, id: u64) -> bool {
        self.held.early.contains_key(&id)
    }

    /// Keeps a label until its sample comes, for as long as a sample stays here; class `None`
    /// withdraws the label.
    pub fn expect(&mut self, id: u64, class: Option<u32>) {
        let held = &mut self.held;
        if held.early.insert(id, class.unwrap_or(WITHDRAWN)).is_none() {
            held.waiting.push_back((id, held.streamed));
        }
        self.expire();
    }

    /// Drops labels whose samples did not come in time.
    fn expire(&mut self) {
        let held = &mut self.held;
        let most = self.capacity;
        while let Some((id, since)) = held.waiting.front().copied()
            && (held.waiting.len() > most || held.streamed - since > most as u64)
        {
            held.waiting.pop_front();
            held.early.remove(&id);
        }
    }
}

/// The state's name in messages.
const WHAT: &str = "the samples that await a label";

impl Stateful for LabelWindow {
    fn save(&self) -> Result<Vec<u8>> {
        encode(WHAT, &self.held)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.held = decode(WHAT, state)?;
        self.held.ring.restore();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(window: &LabelWindow, id: u64) -> Option<f32> {
        let (Values::F32(values), at) = window.find(id)? else { panic!() };
        Some(values[at])
    }

    fn push(window: &mut LabelWindow, id: u64, value: f32) -> Option<u32> {
        window.push(id, &Values::F32(vec![0.0, value]), 1)
    }

    #[test]
    fn the_newest_samples_are_found_by_id() {
        let mut window = LabelWindow::new(Shape::Vector { features: 1 }, 3);
        for id in 0..5 {
            push(&mut window, id, id as f32);
        }
        assert_eq!(
            [0, 1, 2, 3, 4].map(|id| value(&window, id)),
            [None, None, Some(2.0), Some(3.0), Some(4.0)]
        );
        push(&mut window, 4, 40.0);
        push(&mut window, 5, 5.0);
        assert_eq!([2, 3, 4, 5].map(|id| value(&window, id)), [None, None, Some(40.0), Some(5.0)]);
        let mut again = LabelWindow::new(Shape::Vector { features: 1 }, 3);
        again.load(&window.save().unwrap()).unwrap();
        assert_eq!([2, 3, 4, 5].map(|id| value(&again, id)), [None, None, Some(40.0), Some(5.0)]);
    }

    #[test]
    fn early_labels_wait_for_their_samples_but_not_for_ever() {
        let mut window = LabelWindow::new(Shape::Vector { features: 1 }, 3);
        window.expect(7, Some(1));
        window.expect(8, Some(2));
        window.expect(8, None);
        window.expect(9, Some(4));
        window.expect(9, Some(5));
        assert_eq!(push(&mut window, 7, 0.0), Some(1));
        assert_eq!(push(&mut window, 7, 0.0), None);
        assert_eq!(push(&mut window, 8, 0.0), None);
        assert_eq!(push(&mut window, 1, 0.0), None);
        assert_eq!(push(&mut window, 9, 0.0), None, "it waited too long");
        window.expect(6, None);
        assert!(window.expects(6) && !window.expects(7), "a withdrawal waits too");
        assert_eq!(push(&mut window, 6, 0.0), None);
        (10..20).for_each(|id| window.expect(id, Some(0)));
        assert_eq!(window.held.early.len(), 3);
        assert!(window.held.waiting.len() <= 3);
    }
}
