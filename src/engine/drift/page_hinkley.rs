//! The Page-Hinkley test for drift (Page 1954, "Continuous inspection schemes"; Mouss et al. 2004 for
//! streams) on the teacher's mean confidence per step. It sums the falls of the confidence below its own mean
//! and raises an alarm when the sum reaches the threshold.

use serde::{Deserialize, Serialize};

/// Steps before the first alarm, in which the mean is estimated.
const WARM_UP: u64 = 30;

/// State of the test.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PageHinkley {
    steps: u64,
    mean: f64,
    sum: f64,
    least: f64,
}

impl PageHinkley {
    /// Takes in a step's mean confidence. Returns whether the sum has reached `threshold`.
    pub fn add(&mut self, confidence: f64, tolerance: f64, threshold: f64) -> bool {
        self.steps += 1;
        self.mean += (confidence - self.mean) / self.steps as f64;
        self.sum += self.mean - confidence - tolerance;
        self.least = self.least.min(self.sum);
        if self.steps < WARM_UP {
            (self.sum, self.least) = (0.0, 0.0);
        }
        let alarm = self.statistic(threshold) >= 1.0;
        if alarm {
            *self = Self::default();
        }
        alarm
    }

    /// Test statistic as a fraction of `threshold`: 1 raises the alarm.
    pub fn statistic(&self, threshold: f64) -> f64 {
        (self.sum - self.least) / threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: f64 = 0.005;

    fn fed(test: &mut PageHinkley, confidence: impl Fn(usize) -> f64, steps: usize) -> usize {
        (0..steps).map(|step| usize::from(test.add(confidence(step), TOLERANCE, 1.0))).sum()
    }

    #[test]
    fn a_fall_is_an_alarm_and_noise_or_a_rise_is_not() {
        let mut test = PageHinkley::default();
        assert_eq!(fed(&mut test, |step| 0.9 + 0.02 * (step % 2) as f64, 10_000), 0);
        assert_eq!(fed(&mut test, |_| 0.98, 1000), 0);
        assert_eq!(fed(&mut test, |_| 0.7, 20), 1);
        assert!(test.statistic(1.0) < 0.1);
    }

    #[test]
    fn the_sum_is_that_of_the_formula() {
        let mut test = PageHinkley::default();
        fed(&mut test, |_| 0.9, 40);
        // One step at 0.6: the mean is 0.9 - 0.3/41; the fall counts minus the tolerance.
        test.add(0.6, TOLERANCE, 2.0);
        let by_hand = 0.9 - 0.3 / 41.0 - 0.6 - TOLERANCE;
        assert!((test.statistic(2.0) - by_hand / 2.0).abs() < 1e-9, "{}", test.statistic(2.0));
    }
}
