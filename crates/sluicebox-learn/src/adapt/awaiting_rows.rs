//! Scaled rows that await a label: the newest of the stream, as many as the job keeps samples.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Ring of scaled rows with the steps in which they streamed by. A repeated id refers to the newer row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AwaitingRows {
    capacity: usize,
    bytes: usize,
    ids: Vec<u64>,
    steps: Vec<u64>,
    scaled: Vec<u8>,
    next: usize,
    #[serde(skip)]
    places: HashMap<u64, usize>,
}

impl AwaitingRows {
    /// Creates an empty ring of `capacity` rows of `bytes` each.
    pub fn new(capacity: usize, bytes: usize) -> Self {
        let (ids, steps, scaled) = (Vec::new(), Vec::new(), Vec::new());
        Self { capacity, bytes, ids, steps, scaled, next: 0, places: HashMap::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, id: u64, step: u64, scaled: &[u8]) {
        if self.capacity == 0 {
            return;
        }
        let place = self.next;
        self.next = (place + 1) % self.capacity;
        if place == self.ids.len() {
            self.ids.push(id);
            self.steps.push(step);
            self.scaled.extend(scaled);
        } else {
            if self.places.get(&self.ids[place]) == Some(&place) {
                self.places.remove(&self.ids[place]);
            }
            (self.ids[place], self.steps[place]) = (id, step);
            self.scaled[place * self.bytes..(place + 1) * self.bytes].copy_from_slice(scaled);
        }
        self.places.insert(id, place);
    }

    /// Returns a row and its step.
    pub fn find(&self, id: u64) -> Option<(&[u8], u64)> {
        let place = *self.places.get(&id)?;
        Some((&self.scaled[place * self.bytes..(place + 1) * self.bytes], self.steps[place]))
    }

    /// Restores what is not saved.
    pub fn restore(&mut self) {
        // Oldest first, so that of two rows with one id the newer one wins.
        let count = self.ids.len();
        let first = if count == self.capacity { self.next } else { 0 };
        self.places =
            (0..count).map(|at| (first + at) % count.max(1)).map(|place| (self.ids[place], place)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_rows_are_found() {
        let mut rows = AwaitingRows::new(3, 2);
        for (step, id) in [7, 8, 7, 9].into_iter().enumerate() {
            rows.push(id, step as u64, &[id as u8, step as u8]);
        }
        let mut again: AwaitingRows = bincode::deserialize(&bincode::serialize(&rows).unwrap()).unwrap();
        again.restore();
        for mut rows in [rows, again] {
            assert_eq!((rows.find(7), rows.find(9)), (Some((&[7, 2][..], 2)), Some((&[9, 3][..], 3))));
            assert_eq!(rows.find(8), Some((&[8, 1][..], 1)));
            rows.push(5, 4, &[5, 4]);
            assert!(rows.find(8).is_none() && rows.find(7).is_some());
        }
        AwaitingRows::new(0, 2).push(1, 1, &[1, 1]);
    }
}
