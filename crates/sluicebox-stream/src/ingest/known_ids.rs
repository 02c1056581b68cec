//! The newest ids that feeders chose, by which repeated samples are found.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Number of feeder-chosen ids that are remembered in order to detect repeats.
const MOST: usize = 1_000_000;

/// Feeder-chosen ids with a hash of their values, the oldest first.
#[derive(Default)]
pub struct KnownIds {
    hashes: HashMap<u64, u64>,
    order: VecDeque<u64>,
}

impl KnownIds {
    /// Returns the hash of a sample that has this id.
    pub fn get(&self, id: u64) -> Option<u64> {
        self.hashes.get(&id).copied()
    }

    /// Forgets an id whose sample was not written.
    pub fn forget(&mut self, id: u64) {
        self.hashes.remove(&id);
    }

    /// Adds an id, and forgets the oldest ones beyond the maximum.
    pub fn add(&mut self, id: u64, hash: u64) {
        if self.hashes.insert(id, hash).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > MOST {
            self.order.pop_front().and_then(|oldest| self.hashes.remove(&oldest));
        }
    }
}

/// Returns the hash of a sample's bytes.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
