//! Learning-rate schedule. An endless stream has no last step, so the default needs none.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// `[schedule]`: the learning rate over the steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Course of the rate after the warm-up.
    pub kind: Kind,
    /// Steps over which the rate rises linearly from 0.
    pub warmup_steps: u64,
    /// Steps after the warm-up until `inverse-sqrt` has fallen by a factor of √2; by default
    /// `warmup_steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_steps: Option<u64>,
    /// Steps over which `cosine` falls; by default to the end of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
}

/// Course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Constant at the full rate.
    #[default]
    Constant,
    /// √(d / (d + k)), k steps after the warm-up, with `decay_steps` d: in the long run the rate
    /// halves whenever the number of steps quadruples. With d = `warmup_steps`, as in Vaswani et
    /// al. (2017, eq. 3).
    InverseSqrt,
    /// cos(7πk / 16K) at step k of K, as in FixMatch (Sohn et al. 2020, §2.3). Only for jobs with an end, or with
    /// `steps`.
    Cosine,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { kind: Kind::Constant, warmup_steps: 20, decay_steps: None, steps: None }
    }
}

impl sluicebox_core::config::document::Settings for Schedule {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        match (self.decay_steps, self.kind) {
            (Some(0), _) => faults.push(("decay_steps", "must be at least 1".into())),
            (Some(_), Kind::Constant | Kind::Cosine) => {
                faults.push(("decay_steps", "is for the kind \"inverse-sqrt\"".into()));
            }
            _ => {}
        }
        match (self.steps, self.kind) {
            (Some(0), _) => faults.push(("steps", "must be at least 1".into())),
            (Some(_), Kind::Constant | Kind::InverseSqrt) => {
                faults.push(("steps", "is for the kind \"cosine\"".into()));
            }
            _ => {}
        }
        faults
    }
}

impl Schedule {
    /// Returns the factor on the learning rate at `step` of a job that stops after `horizon` steps. `steps` goes before
    /// the job's end.
    pub fn factor(&self, step: u64, horizon: Option<u64>) -> f64 {
        let warmup = self.warmup_steps.max(1);
        let rise = ((step + 1) as f64 / warmup as f64).min(1.0);
        rise * match (self.kind, horizon) {
            (Kind::InverseSqrt, _) => {
                let decay = self.decay_steps.unwrap_or(warmup) as f64;
                (decay / (decay + (step + 1).saturating_sub(warmup) as f64)).sqrt()
            }
            (Kind::Cosine, end) if end.or(self.steps).is_some() => {
                let horizon = self.steps.or(end).unwrap_or(1);
                let part = step as f64 / horizon.max(1) as f64;
                (7.0 * PI * part.min(1.0) / 16.0).cos()
            }
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::config::document::Settings;

    #[test]
    fn rates_rise_and_then_follow_their_kind() {
        let decaying = |kind, decay_steps| Schedule { kind, warmup_steps: 10, decay_steps, steps: None };
        let factor = |kind, step| decaying(kind, None).factor(step, Some(1000));
        for kind in [Kind::Constant, Kind::InverseSqrt, Kind::Cosine] {
            assert!((factor(kind, 0) - 0.1).abs() < 1e-9);
            assert!(factor(kind, 9) > 0.999);
        }
        assert_eq!(factor(Kind::Constant, 1_000_000), 1.0);
        assert!((factor(Kind::InverseSqrt, 39) - 0.5).abs() < 1e-9);
        let slow = decaying(Kind::InverseSqrt, Some(400));
        assert!((slow.factor(10 + 399, None) - 0.5f64.sqrt()).abs() < 1e-9);
        assert!((slow.factor(10 + 1199, None) - 0.5).abs() < 1e-9);
        assert!((factor(Kind::Cosine, 1000) - (7.0 * PI / 16.0).cos()).abs() < 1e-9);
        let own = Schedule { steps: Some(500), ..decaying(Kind::Cosine, None) };
        for end in [None, Some(1000)] {
            assert!((own.factor(500, end) - (7.0 * PI / 16.0).cos()).abs() < 1e-9);
        }
        assert_eq!(decaying(Kind::Constant, None).faults(), Vec::new());
        assert_eq!(Schedule { steps: Some(9), ..Schedule::default() }.faults()[0].0, "steps");
    }
}
