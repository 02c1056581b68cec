//! The learning rate over the steps. An endless stream has no horizon to aim at, so the
//! default knows none.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// `[schedule]` of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// What comes after the warm-up.
    pub kind: Kind,
    /// Steps over which the rate rises from nothing.
    pub warmup_steps: u64,
}

/// What comes after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The full rate for ever.
    #[default]
    Constant,
    /// √(warm-up / step): halves whenever the steps grow fourfold.
    InverseSqrt,
    /// cos(7πk / 16K) over the job's K steps, as in FixMatch (Sohn et al. 2020, §2.3). Only
    /// for jobs with an end.
    Cosine,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { kind: Kind::Constant, warmup_steps: 20 }
    }
}

impl crate::document::Settings for Schedule {}

impl Schedule {
    /// The factor on the learning rate at `step` of a job that stops after `horizon` steps.
    pub fn factor(&self, step: u64, horizon: Option<u64>) -> f64 {
        let rise = ((step + 1) as f64 / self.warmup_steps.max(1) as f64).min(1.0);
        rise * match (self.kind, horizon) {
            (Kind::InverseSqrt, _) => {
                let warmup = self.warmup_steps.max(1) as f64;
                (warmup / (step + 1) as f64).sqrt().min(1.0)
            }
            (Kind::Cosine, Some(horizon)) => {
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

    #[test]
    fn rates_rise_and_then_follow_their_kind() {
        let factor = |kind, step| Schedule { kind, warmup_steps: 10 }.factor(step, Some(1000));
        for kind in [Kind::Constant, Kind::InverseSqrt, Kind::Cosine] {
            assert!((factor(kind, 0) - 0.1).abs() < 1e-9);
            assert!(factor(kind, 9) > 0.999);
        }
        assert_eq!(factor(Kind::Constant, 1_000_000), 1.0);
        assert!((factor(Kind::InverseSqrt, 39) - 0.5).abs() < 1e-9);
        assert!((factor(Kind::Cosine, 1000) - (7.0 * PI / 16.0).cos()).abs() < 1e-9);
    }
}
