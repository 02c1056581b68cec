//! A signal of drift: the Page-Hinkley test (Page 1954, "Continuous inspection schemes"; Mouss et
//! al. 2004 for streams) on the teacher's mean confidence of each step. Confidence that falls below
//! its own mean adds up; a sum that reaches the threshold is an alarm.

use serde::{Deserialize, Serialize};

/// A fall of the mean that is no drift, each step.
const TOLERANCE: f64 = 0.005;
/// Sum at which the alarm is raised: confidence lower by 0.1 for some ten steps.
const THRESHOLD: f64 = 1.0;
/// Steps before the first alarm, while the mean is not known.
const WARM_UP: u64 = 30;

/// The test's state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PageHinkley {
    steps: u64,
    mean: f64,
    sum: f64,
    least: f64,
    alarms: u64,
}

impl PageHinkley {
    /// Takes in a step's mean confidence.
    pub fn add(&mut self, confidence: f64) {
        self.steps += 1;
        self.mean += (confidence - self.mean) / self.steps as f64;
        self.sum += self.mean - confidence - TOLERANCE;
        self.least = self.least.min(self.sum);
        if self.steps < WARM_UP {
            (self.sum, self.least) = (0.0, 0.0);
        } else if self.statistic() >= 1.0 {
            tracing::warn!("the stream has drifted: the teacher's confidence has fallen for long");
            *self = Self { alarms: self.alarms + 1, ..Self::default() };
        }
    }

    /// How near the alarm is: 1 raises it.
    pub fn statistic(&self) -> f64 {
        (self.sum - self.least) / THRESHOLD
    }

    /// Alarms so far.
    pub fn alarms(&self) -> u64 {
        self.alarms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(test: &mut PageHinkley, confidence: impl Fn(usize) -> f64, steps: usize) {
        (0..steps).for_each(|step| test.add(confidence(step)));
    }

    #[test]
    fn a_fall_is_an_alarm_and_noise_or_a_rise_is_not() {
        let mut test = PageHinkley::default();
        fed(&mut test, |step| 0.9 + 0.02 * (step % 2) as f64, 10_000);
        assert_eq!(test.alarms(), 0);
        fed(&mut test, |_| 0.98, 1000);
        assert_eq!(test.alarms(), 0);
        fed(&mut test, |_| 0.7, 20);
        assert_eq!(test.alarms(), 1);
        assert!(test.statistic() < 0.1);
    }

    #[test]
    fn the_sum_is_that_of_the_formula() {
        let mut test = PageHinkley::default();
        fed(&mut test, |_| 0.9, 40);
        // One step at 0.6: the mean is 0.9 - 0.3/41, and the fall counts less the tolerance.
        test.add(0.6);
        let by_hand = 0.9 - 0.3 / 41.0 - 0.6 - TOLERANCE;
        assert!((test.statistic() - by_hand / THRESHOLD).abs() < 1e-9, "{}", test.statistic());
    }
}
