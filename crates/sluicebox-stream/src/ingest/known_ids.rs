//! The newest ids that feeders chose, by which repeated samples are found.
//!
//! A checkpoint holds those whose samples were trained on. The others are in the log: if it loses them, they are
//! taken in when they are sent again.

use std::collections::{HashMap, VecDeque};
use xxhash_rust::xxh3::xxh3_64;

/// Number of feeder-chosen ids that are remembered in order to detect repeats.
const MOST: usize = 1_000_000;

/// Bytes of an id in a checkpoint: the id and the hash.
const SAVED: usize = 16;

/// An id with a hash of its values.
struct Known {
    id: u64,
    hash: u64,
    is_trained: bool,
}

/// Feeder-chosen ids, the oldest first.
#[derive(Default)]
pub struct KnownIds {
    known: VecDeque<Known>,
    /// Number of ids that have left the front.
    left: u64,
    /// Place of each id: its index, counted from the first id ever.
    places: HashMap<u64, u64>,
}

impl KnownIds {
    /// Returns the hash of a sample that has this id.
    pub fn get(&self, id: u64) -> Option<u64> {
        let place = self.places.get(&id)?;
        self.known.get((place - self.left) as usize).map(|known| known.hash)
    }

    /// Takes back the ids that were added last, because their samples were not written.
    pub fn take_back(&mut self, count: usize) {
        for taken in self.known.drain(self.known.len().saturating_sub(count)..) {
            self.places.remove(&taken.id);
        }
    }

    /// Adds an id, unless it is known.
    pub fn add(&mut self, id: u64, hash: u64) {
        if self.places.contains_key(&id) {
            return;
        }
        self.places.insert(id, self.left + self.known.len() as u64);
        self.known.push_back(Known { id, hash, is_trained: false });
    }

    /// Forgets the oldest ids beyond the maximum. It is not a part of [`KnownIds::add`], so that samples which are not
    /// written after all drive out nothing.
    pub fn forget_oldest(&mut self) {
        while self.known.len() > MOST
            && let Some(oldest) = self.known.pop_front()
        {
            self.places.remove(&oldest.id);
            self.left += 1;
        }
    }

    /// Marks an id whose sample is part of a step.
    pub fn set_trained(&mut self, id: u64) {
        if let Some(place) = self.places.get(&id)
            && let Some(known) = self.known.get_mut((place - self.left) as usize)
        {
            known.is_trained = true;
        }
    }

    /// Returns the ids that are marked, for a checkpoint.
    pub fn trained(&self) -> Vec<u8> {
        let trained = self.known.iter().filter(|known| known.is_trained);
        let mut bytes = Vec::with_capacity(SAVED * self.known.len());
        trained.for_each(|Known { id, hash, .. }| {
            bytes.extend([id.to_le_bytes(), hash.to_le_bytes()].as_flattened())
        });
        bytes
    }

    /// Returns the ids of a checkpoint.
    pub fn of_checkpoint(bytes: &[u8]) -> Self {
        let saved = bytes.as_chunks::<SAVED>().0;
        let (known, places) = (VecDeque::with_capacity(saved.len()), HashMap::with_capacity(saved.len()));
        let mut ids = Self { known, left: 0, places };
        for saved in saved {
            let [id, hash] =
                [0, 8].map(|at| saved[at..at + 8].iter().rfold(0, |sum, byte| sum << 8 | u64::from(*byte)));
            ids.add(id, hash);
            ids.set_trained(id);
        }
        ids
    }
}

/// Returns the hash of a sample's bytes. Checkpoints hold it, so it must never change.
pub fn hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_million_is_known_and_what_was_trained_is_saved() {
        let mut ids = KnownIds::default();
        (0..MOST as u64 + 3).for_each(|id| ids.add(id, !id));
        ids.forget_oldest();
        assert_eq!(
            [0, 2, 3, MOST as u64 + 2].map(|id| ids.get(id)),
            [None, None, Some(!3), Some(!(MOST as u64 + 2))]
        );
        assert!(ids.trained().is_empty());
        (0..10).for_each(|id| ids.set_trained(id));
        let mut later = KnownIds::of_checkpoint(&ids.trained());
        assert_eq!(
            (later.known.len(), later.get(3), later.get(9), later.get(10)),
            (7, Some(!3), Some(!9), None)
        );
        later.add(3, 5);
        assert_eq!(later.get(3), Some(!3), "what was trained stays");
        assert_eq!(ids.trained(), later.trained());
    }

    #[test]
    fn an_id_that_was_not_written_may_come_again_and_drives_out_nothing() {
        let mut ids = KnownIds::default();
        (0..MOST as u64).for_each(|id| ids.add(id, 0));
        for _ in 0..3 {
            (0..9).for_each(|new| ids.add(MOST as u64 + new, 1));
            ids.take_back(9);
            ids.forget_oldest();
        }
        let of = |ids: &KnownIds| [0, MOST as u64 - 1, MOST as u64].map(|id| ids.get(id));
        assert_eq!(of(&ids), [Some(0), Some(0), None]);
        ids.add(MOST as u64, 2);
        ids.set_trained(MOST as u64);
        ids.forget_oldest();
        assert_eq!(of(&ids), [None, Some(0), Some(2)]);
        assert_eq!(KnownIds::of_checkpoint(&ids.trained()).get(MOST as u64), Some(2));
    }

    /// A checkpoint of another build must find the same samples again.
    #[test]
    fn the_hash_stays_what_it_is() {
        assert_eq!(hash(b""), 0x2D06_8005_38D3_94C2);
    }
}
