//! Numbers that no record has: those of records that were told to be lost, and those that were skipped after them.

use serde::{Deserialize, Serialize};

/// Maximum gaps that are remembered: the newest.
const MOST: usize = 4;

/// Ranges of numbers, in order: the first, and the one after the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Gaps([(u64, u64); MOST]);

impl Gaps {
    /// Adds a gap that ends after all others, and may include some of them. If there are too many, the oldest is forgotten.
    pub fn with(self, mut from: u64, to: u64) -> Self {
        let mut gaps = [(0, 0); MOST];
        let mut at = MOST - 1;
        for (start, end) in self.0.into_iter().rev().filter(|(start, end)| start < end) {
            if end >= from {
                from = from.min(start);
            } else if at > 0 {
                at -= 1;
                gaps[at] = (start, end);
            }
        }
        gaps[MOST - 1] = (from, to);
        Self(gaps)
    }

    /// Returns how many of the numbers from `from` to before `to` are not in a gap.
    pub fn records(&self, from: u64, to: u64) -> u64 {
        let inside = |(start, end): &(u64, u64)| (*end).min(to).saturating_sub((*start).max(from));
        to.saturating_sub(from) - self.0.iter().map(inside).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_gaps_are_no_records() {
        assert_eq!(Gaps::default().records(3, 10), 7);
        let gaps = Gaps::default().with(10, 1000).with(1010, 2000);
        let counts = [(0, 10), (0, 11), (5, 1005), (500, 1500), (990, 2003), (1500, 1600), (9, 9)];
        assert_eq!(counts.map(|(from, to)| gaps.records(from, to)), [10, 10, 10, 10, 13, 0, 0]);
        assert_eq!(gaps.with(1005, 3000).records(0, 4000), 1015, "it includes the last");
        assert_eq!(gaps.with(0, 3000).records(0, 4000), 1000, "it includes both");
        let many = (0..100).fold(Gaps::default(), |gaps, at| gaps.with(20 * at, 20 * at + 10));
        assert_eq!(many.records(1940, 2000), 30);
    }
}
