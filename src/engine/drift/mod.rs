//! Drift detector. Inputs per step: the teacher's mean confidence, and the distance of the step's mean
//! features from their running mean.

pub mod adwin;
pub mod page_hinkley;

use crate::engine::drift::adwin::Adwin;
use crate::engine::drift::page_hinkley::PageHinkley;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::document::Settings;
use sluicebox_core::config::range::{above, above_to, within};

/// Steps over which the running mean of features is taken.
const MEMORY: u64 = 100;
/// Steps before the tests begin: at first a student changes faster than a stream.
const WARM_UP: u64 = 30;

/// `[drift]`: the drift detector and the reaction to its alarms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drift {
    /// The test.
    pub detector: Kind,
    /// ADWIN's δ: largest probability of a false alarm.
    pub delta: f64,
    /// Fall of the confidence below its mean, per step, that Page-Hinkley ignores.
    pub tolerance: f64,
    /// Sum of falls at which Page-Hinkley raises the alarm.
    pub threshold: f64,
    /// Reaction to an alarm.
    pub action: Action,
    /// `reweight`: factor, 0 to 1, on the weight of labelled samples that came before the alarm.
    pub keeps: f64,
}

/// The test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// ADWIN, on confidence and on features.
    #[default]
    Adwin,
    /// Page-Hinkley, on confidence.
    PageHinkley,
    /// No test.
    None,
}

/// Reaction to an alarm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Count it in the report.
    Flag,
    /// Also write a warning to the job's log.
    #[default]
    Event,
    /// Also decay replay weights: labelled samples from before the alarm are replayed less, and count less
    /// for the experts, than later ones.
    Reweight,
}

impl Default for Drift {
    fn default() -> Self {
        Self {
            detector: Kind::default(),
            delta: 0.002,
            tolerance: 0.005,
            threshold: 1.0,
            action: Action::default(),
            keeps: 0.2,
        }
    }
}

impl Settings for Drift {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "delta", self.delta, above_to(0.0, 1.0));
        within(&mut faults, "threshold", self.threshold, above(0.0));
        within(&mut faults, "tolerance", self.tolerance, 0.0..=1.0);
        within(&mut faults, "keeps", self.keeps, 0.0..=1.0);
        faults
    }
}

/// State of the tests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    steps: u64,
    confidence: Adwin,
    distance: Adwin,
    falls: PageHinkley,
    /// Running mean of the features of the newest steps.
    features: Vec<f64>,
    alarms: u64,
    /// No alarm is raised up to this step, so that one change raises one alarm.
    quiet_until: u64,
    nearness: f64,
}

impl Detector {
    /// Takes in a step's mean confidence and its mean features `[F]`. Returns what has moved, if this raises an alarm.
    pub fn add(&mut self, settings: &Drift, confidence: f64, features: &[f32]) -> Option<&'static str> {
        self.steps += 1;
        let distance = self.distance(features);
        if self.steps <= WARM_UP || settings.detector == Kind::None {
            return None;
        }
        let what = match settings.detector {
            Kind::None => None,
            Kind::PageHinkley => {
                let alarm = self.falls.add(confidence, settings.tolerance, settings.threshold);
                self.nearness = self.falls.statistic(settings.threshold);
                alarm.then_some("the teacher's confidence has fallen for long")
            }
            Kind::Adwin => {
                let less_sure = self.confidence.add(confidence, settings.delta).is_some_and(|by| by < 0.0);
                let elsewhere = self.distance.add(distance, settings.delta).is_some_and(|by| by > 0.0);
                self.nearness = self.confidence.nearness().max(self.distance.nearness());
                let elsewhere = elsewhere.then_some("the teacher's features have moved");
                less_sure.then_some("the teacher's confidence has fallen").or(elsewhere)
            }
        };
        let what = what.filter(|_| self.steps > self.quiet_until);
        if what.is_some() {
            self.quiet_until = self.steps + WARM_UP;
        }
        if let (Some(what), Action::Event | Action::Reweight) = (what, settings.action) {
            tracing::warn!("the stream has drifted: {what}");
        }
        self.alarms += u64::from(what.is_some());
        what
    }

    /// Returns the distance of features from their running mean, 0 to 1: |a - b| / (|a| + |b|).
    fn distance(&mut self, features: &[f32]) -> f64 {
        self.features.resize(features.len(), 0.0);
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let pairs = || self.features.iter().zip(features).map(|(mean, now)| (*mean, f64::from(*now)));
        let apart = norm(&mut pairs().map(|(mean, now)| now - mean));
        let whole = norm(&mut pairs().map(|(mean, _)| mean)) + norm(&mut pairs().map(|(_, now)| now));
        let weight = 1.0 / self.steps.min(MEMORY) as f64;
        for (mean, now) in self.features.iter_mut().zip(features) {
            *mean += weight * (f64::from(*now) - *mean);
        }
        if whole > 0.0 { apart / whole } else { 0.0 }
    }

    /// Test statistic as a fraction of the alarm threshold: 1 raises the alarm.
    pub fn nearness(&self) -> f64 {
        self.nearness
    }

    /// Number of alarms so far.
    pub fn alarms(&self) -> u64 {
        self.alarms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the alarms in `steps` steps of confidence `sure` and mean features `features`, plus noise.
    fn fed(found: &mut Detector, kind: Kind, steps: u32, sure: f64, features: [f32; 2]) -> u64 {
        let settings = Drift { detector: kind, ..Drift::default() };
        let before = found.alarms();
        for step in 0..steps {
            let noise = 0.02 * (f64::from(step * 7919 % 101) / 50.0 - 1.0);
            let features = features.map(|value| value * (1.0 + noise as f32));
            found.add(&settings, sure + noise, &features);
        }
        found.alarms() - before
    }

    #[test]
    fn a_fall_of_confidence_is_an_alarm_and_a_rise_is_not() {
        for kind in [Kind::Adwin, Kind::PageHinkley] {
            let mut found = Detector::default();
            assert_eq!(fed(&mut found, kind, 1000, 0.7, [1.0, 2.0]), 0, "{kind:?}");
            assert_eq!(fed(&mut found, kind, 1000, 0.95, [1.0, 2.0]), 0, "{kind:?}");
            assert!(fed(&mut found, kind, 60, 0.7, [1.0, 2.0]) >= 1, "{kind:?}");
        }
        assert_eq!(fed(&mut Detector::default(), Kind::None, 1000, 0.1, [0.0, 0.0]), 0);
    }

    #[test]
    fn features_that_move_are_an_alarm_for_adwin() {
        let mut found = Detector::default();
        assert_eq!(fed(&mut found, Kind::Adwin, 500, 0.8, [1.0, 2.0]), 0);
        let alarms = fed(&mut found, Kind::Adwin, 30, 0.8, [2.0, -1.0]);
        assert_eq!(alarms, 1, "one change is told once");
    }

    #[test]
    fn distances_by_hand() {
        let mut found = Detector { steps: 1, ..Detector::default() };
        found.distance(&[3.0, 4.0]);
        assert_eq!(found.features, [3.0, 4.0]);
        found.steps = 2;
        // From (3, 4) to (-3, -4) is 10 of 5 + 5; the mean is then halfway between them.
        assert_eq!(found.distance(&[-3.0, -4.0]), 1.0);
        assert_eq!(found.features, [0.0, 0.0]);
    }
}
