//! Scaling of features for the experts ([`crate::adapt::experts`]): each feature standardised by the mean and deviation
//! of the stream so far, and its rank among the newest rows. Skewed features need ranks, features that drift slowly need
//! standardisation; so experts get both.
//!
//! A row is scaled when it streams by, and a label that comes later is learned with what the row was then: a price that
//! was high a week ago is not high among the prices of today. Scaled rows are kept as one byte for each value.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::LazyLock;

/// Newest rows among which a value is ranked.
pub const NEWEST: usize = 1000;
/// Maximum rows of a step that count for the scaling, evenly spaced: it bounds the cost of a large batch.
const ROWS_PER_STEP: usize = 32;
/// Standardised values are cut at this many deviations.
pub(super) const CUT: f32 = 8.0;
/// Rank scores are cut at this many deviations.
const RANK_CUT: f32 = 3.0;
/// A value this many interquartile ranges beyond the quartiles does not count for mean and deviation, so that a fill value
/// such as 1e20 does not flatten a feature. Rare values of a sparse feature are often a thousand ranges away.
const OUTLIER: f32 = 1e4;

/// Values of the two byte codes.
pub(super) static VALUES: LazyLock<[[f32; 256]; 2]> = LazyLock::new(|| {
    let standardised = std::array::from_fn(|code| (code as f32 - 128.0) * (CUT / 127.0));
    // The logistic score, which is that of a normal distribution to 2 %, times its factor.
    let rank = std::array::from_fn(|code| {
        let share = (code as f32 + 0.5) / 256.0;
        ((share / (1.0 - share)).ln() / 1.702).clamp(-RANK_CUT, RANK_CUT)
    });
    [standardised, rank]
});

/// The scaling that the stream so far has. F features.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scaling {
    features: usize,
    /// `[N, F]`: the newest rows, oldest first.
    newest: VecDeque<f32>,
    /// `[F][N]`: the same values of each feature, in order.
    pub(super) sorted: Vec<Vec<f32>>,
    pub(super) moments: Vec<Moments>,
}

/// Number of values of a feature, their mean and the sum of their squared deviations from it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Moments {
    count: f64,
    pub(super) mean: f64,
    squares: f64,
}

/// Returns the bytes of a scaled row of `features` features.
pub fn bytes(features: usize) -> usize {
    2 * features
}

/// Returns the values of a scaled row, `[2 F]` bytes: F standardised ones, then F rank scores.
pub fn values(scaled: &[u8]) -> Vec<f32> {
    let (standardised, ranks) = scaled.split_at(scaled.len() / 2);
    let of = |codes: &[u8], half: usize| -> Vec<f32> {
        codes.iter().map(|code| VALUES[half][usize::from(*code)]).collect()
    };
    [of(standardised, 0), of(ranks, 1)].concat()
}

impl Scaling {
    /// Creates the scaling of a stream that has not begun.
    pub fn new(features: usize) -> Self {
        let (newest, sorted) = (VecDeque::new(), vec![Vec::new(); features]);
        Self { features, newest, sorted, moments: vec![Moments::default(); features] }
    }

    /// Adds a step's rows `[N, F]`.
    pub fn add(&mut self, rows: &[f32]) {
        let rows: Vec<&[f32]> = rows.chunks_exact(self.features).collect();
        let used = rows.len().min(ROWS_PER_STEP);
        let chosen = |at: usize| rows[at * rows.len() / used];
        (0..used).for_each(|at| self.rank(chosen(at)));
        (0..used).for_each(|at| self.measure(chosen(at)));
    }

    /// Adds all rows of a labelled set.
    pub fn add_all(&mut self, rows: &[f32]) {
        rows.chunks(self.features * ROWS_PER_STEP).for_each(|rows| self.add(rows));
    }

    fn rank(&mut self, row: &[f32]) {
        let full = self.newest.len() == NEWEST * self.features;
        for (value, sorted) in row.iter().zip(&mut self.sorted) {
            let place = |value: f32| sorted.partition_point(|other| other.total_cmp(&value).is_lt());
            let at = place(*value);
            match full.then(|| self.newest.pop_front()).flatten().map(place) {
                // Only what lies between the two places moves.
                Some(gone) if gone < at => {
                    sorted.copy_within(gone + 1..at, gone);
                    sorted[at - 1] = *value;
                }
                Some(gone) => {
                    sorted.copy_within(at..gone, at + 1);
                    sorted[at] = *value;
                }
                None => sorted.insert(at, *value),
            }
            self.newest.push_back(*value);
        }
    }

    fn measure(&mut self, row: &[f32]) {
        for ((value, sorted), moments) in row.iter().zip(&self.sorted).zip(&mut self.moments) {
            let (low, high) = (sorted[sorted.len() / 4], sorted[3 * sorted.len() / 4]);
            let range = OUTLIER * (high - low);
            if range == 0.0 || (low - range..=high + range).contains(value) {
                moments.add(f64::from(*value));
            }
        }
    }

    /// Appends the scaled rows `[N, 2 F]` of `rows` `[N, F]`.
    pub fn scale(&self, rows: &[f32], out: &mut Vec<u8>) {
        for row in rows.chunks_exact(self.features) {
            out.extend(row.iter().zip(&self.moments).map(|(value, moments)| {
                let value = moments.deviations(*value).clamp(-CUT, CUT);
                (value * (127.0 / CUT)).round() as i16 as u8 ^ 128 // from -127 to 127 around 128
            }));
            out.extend(row.iter().zip(&self.sorted).map(|(value, sorted)| {
                if sorted.is_empty() {
                    return 128;
                }
                let below = sorted.partition_point(|other| other < value);
                let equal = sorted[below..].partition_point(|other| other <= value);
                (256 * (2 * below + equal) / (2 * sorted.len())).min(255) as u8
            }));
        }
    }
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.squares += before * (value - self.mean);
    }

    pub(super) fn deviation(&self) -> f64 {
        (self.squares / self.count.max(1.0)).sqrt().max(1e-9)
    }

    fn deviations(&self, value: f32) -> f32 {
        ((f64::from(value) - self.mean) / self.deviation()) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(scaling: &Scaling, row: &[f32]) -> Vec<f32> {
        let mut codes = Vec::new();
        scaling.scale(row, &mut codes);
        assert_eq!(codes.len(), bytes(row.len()));
        values(&codes)
    }

    #[test]
    fn a_feature_is_standardised_and_ranked() {
        let mut scaling = Scaling::new(2);
        assert_eq!(scaled(&scaling, &[5.0, 0.0])[2], VALUES[1][128]);
        // 0 to 999, and their exponentials: the ranks are the same.
        for at in 0..1000 {
            let value = (at * 377 % 1000) as f32;
            scaling.add(&[value, (value / 100.0).exp()]);
        }
        let row = scaled(&scaling, &[499.5 + 288.7, (249.5f32 / 100.0).exp()]);
        assert!((row[0] - 1.0).abs() < 0.05, "{row:?}");
        assert!(row[1].abs() < 1.0, "{row:?}");
        assert!((row[2] - (0.788f32 / 0.212).ln() / 1.702).abs() < 0.03, "{row:?}");
        assert!((row[3] + 3f32.ln() / 1.702).abs() < 0.03, "{row:?}");
        assert_eq!(
            scaled(&scaling, &[1e9, -1e9])[..],
            [CUT, scaled(&scaling, &[1e9, -1e9])[1], RANK_CUT, -RANK_CUT]
        );
    }

    #[test]
    fn only_the_newest_rows_are_ranked_and_kept() {
        let mut scaling = Scaling::new(1);
        (0..3 * NEWEST).for_each(|at| scaling.add(&[at as f32]));
        assert_eq!((scaling.newest.len(), scaling.sorted[0].len()), (NEWEST, NEWEST));
        assert_eq!(scaling.sorted[0][0], 2.0 * NEWEST as f32);
        scaling.add(&vec![0.0; 100 * ROWS_PER_STEP]);
        assert_eq!(scaling.sorted[0].iter().filter(|value| **value == 0.0).count(), ROWS_PER_STEP);
    }

    #[test]
    fn a_fill_value_does_not_flatten_a_feature() {
        let mut scaling = Scaling::new(1);
        for at in 0..400 {
            scaling.add(&[if at % 70 == 13 { 1e20 } else { (at % 7) as f32 }]);
        }
        let (low, high) = (scaled(&scaling, &[0.0]), scaled(&scaling, &[6.0]));
        assert!(high[0] - low[0] > 2.5 && high[1] - low[1] > 2.0, "{low:?} {high:?}");
    }
}
