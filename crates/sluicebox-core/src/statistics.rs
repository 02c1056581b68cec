//! Running mean and variance of each feature (B. P. Welford, 1962), by which samples are standardised. An outlier
//! enters them clipped, so that one wrong value does not flatten its feature; with each row in succession that
//! has one the bounds double, so that a feature that has really moved is soon followed. Past a horizon older rows
//! fade, so that the statistics follow a stream whose mean drifts. Where a value is missing (NaN), none enters.

use serde::{Deserialize, Serialize};

/// Deviations from the mean beyond which a value is an outlier, and at which an outlier enters. Real streams have
/// values at 60 deviations.
const OUTLIER: f64 = 100.0;
const ENTERS_AT: f64 = 3.0;
/// The same for the first rows, in ranges beyond the usual values.
const OUTLIER_RANGES: f64 = 20.0;
const ENTERS_AT_RANGES: f64 = 0.5;
/// Values from which on the running deviation says what an outlier is.
const ENOUGH: u64 = 30;
/// Fraction of the first rows, at each end, that does not count as usual.
const UNUSUAL: f64 = 0.01;
/// A deviation below this fraction of the mean is a rounding error: the feature is constant.
const ROUNDING: f64 = 1e-8;

/// Running mean and variance of one feature.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Feature {
    /// Values that entered.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Sum of their squared differences from the mean, over `count` values or the horizon.
    pub squares: f64,
    /// The last value.
    pub last: f64,
    /// Outliers in succession, up to the last value.
    pub outliers: i32,
}

/// Statistics of all features.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Statistics {
    features: Vec<Feature>,
}

impl Feature {
    /// Returns a value as it enters.
    fn clip(&mut self, value: f64, horizon: u64) -> f64 {
        let (gap, deviation) = (value - self.mean, self.deviation(horizon) * 2f64.powi(self.outliers));
        if self.count < ENOUGH || deviation == 0.0 || gap.abs() <= OUTLIER * deviation {
            self.outliers = 0;
            return value;
        }
        self.outliers = self.outliers.saturating_add(1);
        self.mean + gap.signum() * ENTERS_AT * deviation
    }

    /// Adds a value as it is.
    fn enter(&mut self, value: f64, horizon: u64) {
        self.count += 1;
        let rows = self.rows(horizon);
        let fade = if rows < self.count { 1.0 - 1.0 / rows as f64 } else { 1.0 };
        let gap = value - self.mean;
        self.mean += gap / rows as f64;
        self.squares = self.squares * fade + gap * (value - self.mean);
    }

    /// Returns the number of values that the statistics stand for.
    fn rows(&self, horizon: u64) -> u64 {
        if horizon == 0 { self.count } else { self.count.min(horizon) }
    }

    /// Returns the standard deviation; 0 if the feature is constant.
    fn deviation(&self, horizon: u64) -> f64 {
        let deviation = (self.squares / (self.rows(horizon).max(2) - 1) as f64).sqrt();
        if deviation > ROUNDING * self.mean.abs() { deviation } else { 0.0 }
    }
}

impl Statistics {
    /// Creates statistics of no row.
    pub fn new(features: usize) -> Self {
        Self { features: vec![Feature::default(); features] }
    }

    /// Adds the first rows, which are known together: their usual range says what an outlier is.
    pub fn begin(&mut self, rows: &[Vec<f64>], horizon: u64) {
        for (at, feature) in self.features.iter_mut().enumerate() {
            let values = || rows.iter().map(|row| row[at]).filter(|value| !value.is_nan());
            let usual = usual(values().collect());
            values().for_each(|value| feature.enter(usual.clip(value), horizon));
            feature.last = values().next_back().unwrap_or_default();
        }
    }

    /// Adds a row. With a horizon of 0 all rows count alike; otherwise the newest `horizon` rows count most.
    pub fn add(&mut self, row: &[f64], horizon: u64) {
        for (feature, value) in self.features.iter_mut().zip(row).filter(|(_, value)| !value.is_nan()) {
            let clipped = feature.clip(*value, horizon);
            feature.enter(clipped, horizon);
            feature.last = *value;
        }
    }

    /// Returns the mean of a feature.
    pub fn mean(&self, feature: usize) -> f64 {
        self.features[feature].mean
    }

    /// Returns the last value of a feature.
    pub fn last(&self, feature: usize) -> f64 {
        self.features[feature].last
    }

    /// Returns the standard deviation of a feature; 1 if it is constant.
    pub fn deviation(&self, feature: usize, horizon: u64) -> f64 {
        let deviation = self.features[feature].deviation(horizon);
        if deviation > 0.0 { deviation } else { 1.0 }
    }

    /// Returns whether there are enough values of a feature to say what an outlier is.
    pub fn is_settled(&self, feature: usize) -> bool {
        self.features[feature].count >= ENOUGH
    }

    /// Returns the number of features.
    pub fn features(&self) -> usize {
        self.features.len()
    }
}

impl From<Vec<Feature>> for Statistics {
    fn from(features: Vec<Feature>) -> Self {
        Self { features }
    }
}

/// The usual values among the first.
struct Usual {
    low: f64,
    high: f64,
}

impl Usual {
    /// Returns a value as it enters.
    fn clip(&self, value: f64) -> f64 {
        let (Usual { low, high }, range) = (self, self.high - self.low);
        let far = (low - value).max(value - high);
        match range > 0.0 && far > OUTLIER_RANGES * range {
            true => value.clamp(low - ENTERS_AT_RANGES * range, high + ENTERS_AT_RANGES * range),
            false => value,
        }
    }
}

/// Returns the usual ones of some values; of few values each is usual.
fn usual(mut values: Vec<f64>) -> Usual {
    values.sort_by(f64::total_cmp);
    let unusual = match values.len() as u64 >= ENOUGH {
        true => (values.len() as f64 * UNUSUAL).ceil() as usize,
        false => 0,
    };
    let at = |place: usize| values.get(place).copied().unwrap_or_default();
    Usual { low: at(unusual), high: at((values.len() - unusual).saturating_sub(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 300 first rows and 700 more of three features: around 0, around 1e-7 and constant.
    fn rows() -> Vec<Vec<f64>> {
        (0..1000).map(|row| f64::from(row * 37 % 100) / 100.0).map(|x| vec![x, 1e-7 * x, 0.1]).collect()
    }

    fn of(rows: &[Vec<f64>], horizon: u64) -> Statistics {
        let mut statistics = Statistics::new(rows[0].len());
        statistics.begin(&rows[..300], horizon);
        rows[300..].iter().for_each(|row| statistics.add(row, horizon));
        statistics
    }

    fn standardised(statistics: &Statistics, feature: usize, value: f64) -> f64 {
        (value - statistics.mean(feature)) / statistics.deviation(feature, 0)
    }

    #[test]
    fn a_small_feature_counts_as_much_as_any_other_and_a_constant_one_nothing() {
        let statistics = of(&rows(), 0);
        let plain = standardised(&statistics, 0, 0.9);
        assert!(plain > 1.0 && (standardised(&statistics, 1, 0.9e-7) - plain).abs() < 1e-6);
        assert!(standardised(&statistics, 2, 0.1).abs() < 1e-6);
    }

    #[test]
    fn an_outlier_does_not_flatten_its_feature() {
        let plain = standardised(&of(&rows(), 0), 0, 0.9);
        for at in [0, 5, 299, 300, 301, 999] {
            let mut with = rows();
            with[at][0] = 1e30;
            let found = standardised(&of(&with, 0), 0, 0.9);
            assert!((found / plain - 1.0).abs() < 0.2, "in row {at}: {found} instead of {plain}");
        }
    }

    #[test]
    fn a_feature_that_has_really_moved_is_followed() {
        let mut moved = rows();
        moved[500..].iter_mut().for_each(|row| row[0] += 1e6);
        let plain: f64 = moved.iter().map(|row| row[0]).sum::<f64>() / 1000.0;
        let mean = of(&moved, 0).mean(0);
        assert!((mean / plain - 1.0).abs() < 0.1, "{mean} instead of {plain}");
    }

    #[test]
    fn with_a_horizon_the_mean_follows() {
        let drifting: Vec<Vec<f64>> =
            rows().into_iter().enumerate().map(|(row, x)| vec![x[0] + row as f64]).collect();
        let (all, newest) = (of(&drifting, 0), of(&drifting, 50));
        assert!(all.mean(0) < 600.0 && newest.mean(0) > 930.0, "{} {}", all.mean(0), newest.mean(0));
        assert!(newest.features[0].deviation(50) < 100.0);
    }

    #[test]
    fn what_is_missing_does_not_enter() {
        let mut rows = rows();
        rows.iter_mut().step_by(2).for_each(|row| row[0] = f64::NAN);
        let statistics = of(&rows, 0);
        let known: Vec<f64> = rows.iter().map(|row| row[0]).filter(|x| !x.is_nan()).collect();
        assert_eq!((statistics.features[0].count, statistics.last(0)), (500, known[499]));
        assert!((statistics.mean(0) - known.iter().sum::<f64>() / 500.0).abs() < 1e-12);
    }
}
