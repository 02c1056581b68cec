//! Places of a ring buffer by id: which place the next item takes, and where the newest item of an id lies. What lies at
//! the places is its owner's.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Ring of ids. A repeated id refers to the newer item. Its capacity is not saved.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct IdRing {
    ids: Vec<u64>,
    /// Place to write next, once the ring is full.
    next: usize,
    #[serde(skip)]
    places: HashMap<u64, usize>,
}

impl IdRing {
    /// Returns the place of the next item, `id`: that after all others in a ring of less than `capacity`, which is at
    /// least 1, else that of the oldest.
    pub fn push(&mut self, id: u64, capacity: usize) -> usize {
        let place = match self.ids.len() < capacity {
            true => {
                self.ids.push(id);
                self.ids.len() - 1
            }
            false => {
                let place = self.next;
                self.next = (place + 1) % capacity;
                let gone = std::mem::replace(&mut self.ids[place], id);
                if self.places.get(&gone) == Some(&place) {
                    self.places.remove(&gone);
                }
                place
            }
        };
        self.places.insert(id, place);
        place
    }

    /// Returns the place of the newest item of an id.
    pub fn find(&self, id: u64) -> Option<usize> {
        self.places.get(&id).copied()
    }

    /// Returns ids and places, oldest first.
    pub fn oldest_first(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        let count = self.ids.len();
        (0..count).map(move |at| (self.next + at) % count).map(|place| (self.ids[place], place))
    }

    /// Restores what is not saved.
    pub fn restore(&mut self) {
        // Of two items with one id the newer one wins.
        self.places = self.oldest_first().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_items_have_places() {
        let mut ring = IdRing::default();
        assert_eq!([7, 8, 7, 9].map(|id| ring.push(id, 3)), [0, 1, 2, 0]);
        let mut again: IdRing = bincode::deserialize(&bincode::serialize(&ring).unwrap()).unwrap();
        again.restore();
        for mut ring in [ring, again] {
            assert_eq!([7, 8, 9, 5].map(|id| ring.find(id)), [Some(2), Some(1), Some(0), None]);
            assert_eq!(ring.oldest_first().collect::<Vec<_>>(), [(8, 1), (7, 2), (9, 0)]);
            assert_eq!((ring.push(5, 3), ring.find(8)), (1, None));
        }
    }
}
