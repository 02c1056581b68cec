//! Adaptive window: grows while its mean stays the same, drops old values when the mean changes (Bifet and
//! Gavalda 2007, "Learning from time-changing data with adaptive windowing": ADWIN2, §4). Values are kept as
//! sums over buckets of 1, 2, 4, … values, at most `BUCKETS` of each size, so memory grows with the
//! logarithm of the window's length.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Most buckets of each size: the paper's M.
const BUCKETS: usize = 5;
/// Least number of values on either side of a cut.
const LEAST: u64 = 5;

/// Sums over consecutive values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Bucket {
    sum: f64,
    /// Sum of squared distances from the mean.
    spread: f64,
}

/// The window. Row r holds buckets of 2^r values, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Adwin {
    rows: Vec<VecDeque<Bucket>>,
    length: u64,
    total: Bucket,
    /// Largest ratio of difference to cut threshold at the newest check; 1 or more cuts.
    nearness: f64,
}

impl Adwin {
    /// Takes in a value from 0 to 1. Cuts the window if its mean has changed, and returns the change of the
    /// mean. A cut is a false alarm with probability at most `delta`.
    pub fn add(&mut self, value: f64, delta: f64) -> Option<f64> {
        if self.rows.is_empty() {
            self.rows.push(VecDeque::new());
        }
        let single = Bucket { sum: value, spread: 0.0 };
        self.total = join(self.total, self.length, single, 1);
        self.length += 1;
        self.rows[0].push_back(single);
        self.compress();
        let (before, length) = (self.mean(), self.length);
        while self.is_to_be_cut(delta) {
            self.drop_oldest();
        }
        (self.length < length).then(|| self.mean() - before)
    }

    /// Mean of the window.
    pub fn mean(&self) -> f64 {
        self.total.sum / self.length.max(1) as f64
    }

    /// Returns the largest ratio of the difference between two parts of the window to the threshold of a
    /// change.
    pub fn nearness(&self) -> f64 {
        self.nearness
    }

    /// Merges two buckets into one of the next size where there are more than [`BUCKETS`].
    fn compress(&mut self) {
        for row in 0.. {
            if self.rows[row].len() <= BUCKETS {
                return;
            }
            let (Some(first), Some(second)) = (self.rows[row].pop_front(), self.rows[row].pop_front()) else {
                return;
            };
            if row + 1 == self.rows.len() {
                self.rows.push(VecDeque::new());
            }
            self.rows[row + 1].push_back(join(first, 1 << row, second, 1 << row));
        }
    }

    /// Returns whether the older part of the window differs from the newer one at any bucket border.
    fn is_to_be_cut(&mut self, delta: f64) -> bool {
        self.nearness = 0.0;
        let (mut older, mut sum) = (0, 0.0);
        let variance = self.total.spread / self.length as f64;
        let confidence = (2.0 * (self.length as f64).ln() / delta).ln();
        for (row, buckets) in self.rows.iter().enumerate().rev() {
            for bucket in buckets {
                (older, sum) = (older + (1 << row), sum + bucket.sum);
                let newer = self.length - older;
                if older < LEAST || newer < LEAST {
                    continue;
                }
                let difference = sum / older as f64 - (self.total.sum - sum) / newer as f64;
                // As in §3 of the paper, m is half of the harmonic mean.
                let m = 1.0 / (1.0 / older as f64 + 1.0 / newer as f64);
                let least = (2.0 / m * variance * confidence).sqrt() + 2.0 / (3.0 * m) * confidence;
                self.nearness = self.nearness.max(difference.abs() / least);
            }
        }
        self.nearness >= 1.0
    }

    fn drop_oldest(&mut self) {
        while self.rows.last().is_some_and(VecDeque::is_empty) {
            self.rows.pop();
        }
        let Some(size) = self.rows.len().checked_sub(1).map(|row| 1u64 << row) else { return };
        let Some(bucket) = self.rows.last_mut().and_then(VecDeque::pop_front) else { return };
        let (left, sum) = (self.length - size, self.total.sum - bucket.sum);
        // Subtracts the between-bucket term that joining this bucket to the rest had added.
        let means = bucket.sum / size as f64 - sum / left.max(1) as f64;
        let between = means * means * size as f64 * left as f64 / self.length as f64;
        let spread = (self.total.spread - bucket.spread - between).max(0.0);
        (self.length, self.total) = (left, Bucket { sum, spread });
    }
}

/// Joins buckets of `count` and `more` values (Chan, Golub and LeVeque 1983).
fn join(one: Bucket, count: u64, other: Bucket, more: u64) -> Bucket {
    let (n, m) = (count as f64, more as f64);
    let means = one.sum / n.max(1.0) - other.sum / m;
    let between = if count > 0 { means * means * n * m / (n + m) } else { 0.0 };
    Bucket { sum: one.sum + other.sum, spread: one.spread + other.spread + between }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(window: &mut Adwin, values: impl Iterator<Item = f64>) -> usize {
        values.map(|value| usize::from(window.add(value, 0.002).is_some())).sum()
    }

    #[test]
    fn sums_are_those_of_the_values() {
        let mut window = Adwin::default();
        let values: Vec<f64> = (0..500).map(|at| 0.5 + 0.01 * f64::from(at * 7 % 11)).collect();
        assert_eq!(fed(&mut window, values.iter().copied()), 0);
        let mean = values.iter().sum::<f64>() / 500.0;
        let spread: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        assert!((window.mean() - mean).abs() < 1e-12 && (window.total.spread - spread).abs() < 1e-9);
        let held: u64 = window.rows.iter().enumerate().map(|(row, all)| (all.len() as u64) << row).sum();
        assert_eq!((held, window.length), (500, 500));
        assert!(window.rows.len() <= 8 && window.rows.iter().all(|row| row.len() <= BUCKETS));
    }

    #[test]
    fn the_cut_is_that_of_the_formula() {
        let mut window = Adwin::default();
        fed(&mut window, [0.0, 1.0].into_iter().cycle().take(10));
        // Three buckets of two and four of one: no border has five values on either side.
        assert_eq!(window.nearness(), 0.0);
        fed(&mut window, [1.0].into_iter());
        // Now 6 | 5 is the only such border: 0 1 0 1 0 1 and 0 1 0 1 1, means 1/2 and 3/5.
        let variance = 6.0 / 11.0 * (5.0 / 11.0);
        let m = 1.0 / (1.0 / 6.0 + 1.0 / 5.0);
        let confidence = (2.0 * 11f64.ln() / 0.002).ln();
        let least = (2.0 / m * variance * confidence).sqrt() + 2.0 / (3.0 * m) * confidence;
        assert!((window.nearness() - 0.1 / least).abs() < 1e-12, "{} {}", window.nearness(), 0.1 / least);
    }

    #[test]
    fn a_change_cuts_the_window_and_noise_does_not() {
        let mut window = Adwin::default();
        let noise = |level: f64| move |step: u32| level + 0.05 * (f64::from(step * 7919 % 101) / 50.0 - 1.0);
        assert_eq!(fed(&mut window, (0..5000).map(noise(0.9))), 0);
        assert!(fed(&mut window, (0..300).map(noise(0.7))) >= 1);
        assert!((window.mean() - 0.7).abs() < 0.05, "{}", window.mean());
        // A difference of 0.2 is detected for any m of 45 or more, so fewer than 50 old values are left.
        assert!((300..350).contains(&window.length), "{}", window.length);
        let total = window.total;
        let sum: f64 = window.rows.iter().flatten().map(|bucket| bucket.sum).sum();
        assert!((sum - total.sum).abs() < 1e-6);
    }
}
