//! Whether a number of the newest epoch is beyond what it was in the epochs before.

use sluicebox_core::report::{JobMeters, Meters};

/// Fewest epochs before with which a number is compared.
const FEWEST: usize = 5;
/// Deviations from the mean that are within the spread.
const DEVIATIONS: f64 = 2.0;
/// Least spread, as a fraction of the mean.
const LEAST: f64 = 0.005;

/// A number's course.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Course {
    /// There are too few epochs to tell.
    New,
    /// Within the spread of the epochs before, with their mean and number.
    Within(f64, usize),
    /// Above it.
    Above(f64, usize),
    /// Below it.
    Below(f64, usize),
}

/// Compares `now` with the number called `name` in the epochs before.
pub fn course(now: f64, before: &[JobMeters], name: &str) -> Course {
    let values: Vec<f64> = before.iter().filter_map(|job| job.value(name)).collect();
    if values.len() < FEWEST {
        return Course::New;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let spread = (DEVIATIONS * variance.sqrt()).max(LEAST * mean.abs());
    match now - mean {
        by if by > spread => Course::Above(mean, values.len()),
        by if by < -spread => Course::Below(mean, values.len()),
        _ => Course::Within(mean, values.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(now: f64, before: &[f64]) -> Course {
        let job = |value: &f64| JobMeters { samples_per_s: Some(*value), ..JobMeters::default() };
        course(now, &before.iter().map(job).collect::<Vec<_>>(), "samples_per_s")
    }

    #[test]
    fn only_what_is_beyond_the_spread_is_told() {
        assert_eq!(of(1.0, &[100.0; 4]), Course::New);
        assert_eq!(of(100.4, &[100.0; 10]), Course::Within(100.0, 10));
        assert_eq!(of(101.0, &[100.0; 10]), Course::Above(100.0, 10));
        let noisy = [80.0, 120.0, 90.0, 110.0, 100.0];
        assert_eq!(of(75.0, &noisy), Course::Within(100.0, 5));
        assert_eq!(of(60.0, &noisy), Course::Below(100.0, 5));
    }
}
