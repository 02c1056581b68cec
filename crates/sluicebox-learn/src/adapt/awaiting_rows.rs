//! Scaled rows that await a label: the newest of the stream, as many as the job keeps samples.

use crate::id_ring::IdRing;
use serde::{Deserialize, Serialize};

/// Ring of scaled rows with the steps in which they streamed by. A repeated id refers to the newer row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AwaitingRows {
    capacity: usize,
    bytes: usize,
    ring: IdRing,
    /// By place: the step, and the scaled row.
    steps: Vec<u64>,
    scaled: Vec<u8>,
}

impl AwaitingRows {
    /// Creates an empty ring of `capacity` rows of `bytes` each.
    pub fn new(capacity: usize, bytes: usize) -> Self {
        let (steps, scaled) = (Vec::new(), Vec::new());
        Self { capacity, bytes, ring: IdRing::default(), steps, scaled }
    }

    /// Adds a row.
    pub fn push(&mut self, id: u64, step: u64, scaled: &[u8]) {
        if self.capacity == 0 {
            return;
        }
        let place = self.ring.push(id, self.capacity);
        if place == self.steps.len() {
            self.steps.push(step);
            self.scaled.extend(scaled);
        } else {
            self.steps[place] = step;
            self.scaled[place * self.bytes..(place + 1) * self.bytes].copy_from_slice(scaled);
        }
    }

    /// Returns a row and its step.
    pub fn find(&self, id: u64) -> Option<(&[u8], u64)> {
        let place = self.ring.find(id)?;
        Some((&self.scaled[place * self.bytes..(place + 1) * self.bytes], self.steps[place]))
    }

    /// Restores what is not saved.
    pub fn restore(&mut self) {
        self.ring.restore();
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
