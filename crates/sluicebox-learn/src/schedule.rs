//! Learning-rate schedule. An endless stream has no last step, so the default needs none.

use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::{above_to, within};
use std::f64::consts::PI;

/// `[schedule]`: the learning rate over the steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// Steps from the start of the job at which `step` multiplies the rate by `factor`, in ascending order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milestones: Option<Vec<u64>>,
    /// Steps after which `step` multiplies the rate by `factor`, again and again; in place of `milestones`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// Factor of `step` on the rate; by default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// Fraction of the steps over which `one-cycle` rises; by default 0.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rise: Option<f64>,
    /// How many times its first rate `one-cycle` comes to at its peak; by default 25.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<f64>,
    /// Steps over which `cosine` falls; by default to the end of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
}

/// Course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// Multiplied by `factor` at each of the `milestones`, or every `period` steps.
    Step,
    /// One cycle (Smith 2018, arXiv:1803.09820), as PyTorch's `OneCycleLR` has it: from 1/`peak` of the rate
    /// along a cosine up to the full rate, over the part `rise` of the steps, then along a cosine down to 1/10,000 of
    /// the first. Only for jobs with an end.
    OneCycle,
}

impl Kind {
    /// Returns its name in a job file.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Constant => "constant",
            Kind::InverseSqrt => "inverse-sqrt",
            Kind::Cosine => "cosine",
            Kind::Step => "step",
            Kind::OneCycle => "one-cycle",
        }
    }

    /// Returns whether it depends on the number of steps of the job.
    pub fn needs_end(self) -> bool {
        matches!(self, Kind::Cosine | Kind::OneCycle)
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            kind: Kind::Constant,
            warmup_steps: 20,
            decay_steps: None,
            steps: None,
            milestones: None,
            period: None,
            factor: None,
            rise: None,
            peak: None,
        }
    }
}

impl sluicebox_core::config::document::Settings for Schedule {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let given = [
            ("steps", self.steps.is_some(), Kind::Cosine),
            ("decay_steps", self.decay_steps.is_some(), Kind::InverseSqrt),
            ("milestones", self.milestones.is_some(), Kind::Step),
            ("period", self.period.is_some(), Kind::Step),
            ("factor", self.factor.is_some(), Kind::Step),
            ("rise", self.rise.is_some(), Kind::OneCycle),
            ("peak", self.peak.is_some(), Kind::OneCycle),
        ];
        for (key, _, kind) in given.into_iter().filter(|(_, given, kind)| *given && *kind != self.kind) {
            faults.push((key, format!("is for the kind \"{}\"", kind.name())));
        }
        for (key, steps) in
            [("decay_steps", self.decay_steps), ("steps", self.steps), ("period", self.period)]
        {
            if steps == Some(0) {
                faults.push((key, "must be at least 1".into()));
            }
        }
        if self.milestones.as_ref().is_some_and(|all| !all.is_sorted_by(|a, b| a < b)) {
            faults.push(("milestones", "must be in ascending order".into()));
        }
        if self.kind == Kind::Step && self.milestones.is_some() == self.period.is_some() {
            faults.push(("kind", "\"step\" needs either `milestones` or `period`".into()));
        }
        within(&mut faults, "factor", self.factor.unwrap_or(FACTOR), above_to(0.0, 1.0));
        within(&mut faults, "rise", self.rise.unwrap_or(RISE), 0.0..1.0);
        within(&mut faults, "peak", self.peak.unwrap_or(PEAK), 1.0..);
        faults
    }
}

/// Default factor of `step`.
const FACTOR: f64 = 0.1;
/// Defaults of `one-cycle`: PyTorch's.
const RISE: f64 = 0.3;
const PEAK: f64 = 25.0;
/// How many times its last rate the first rate of `one-cycle` is.
const FIRST_OVER_LAST: f64 = 1e4;

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
            (Kind::Step, _) => {
                let passed = match (&self.milestones, self.period) {
                    (Some(milestones), _) => milestones.partition_point(|at| *at <= step) as f64,
                    (None, period) => (step / period.unwrap_or(u64::MAX)) as f64,
                };
                self.factor.unwrap_or(FACTOR).powf(passed)
            }
            (Kind::OneCycle, Some(horizon)) => self.one_cycle(step, horizon),
            _ => 1.0,
        }
    }

    /// Returns the factor of `one-cycle` at `step` of `horizon`.
    fn one_cycle(&self, step: u64, horizon: u64) -> f64 {
        let last = horizon.saturating_sub(1).max(1) as f64;
        let top = (self.rise.unwrap_or(RISE) * horizon as f64 - 1.0).max(0.0);
        let first = 1.0 / self.peak.unwrap_or(PEAK);
        let step = (step as f64).min(last);
        let between = |from: f64, to: f64, part: f64| to + (from - to) * (1.0 + (PI * part).cos()) / 2.0;
        match step < top {
            true => between(first, 1.0, step / top),
            false => between(1.0, first / FIRST_OVER_LAST, (step - top) / (last - top)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::config::document::Settings;

    #[test]
    fn rates_rise_and_then_follow_their_kind() {
        let decaying =
            |kind, decay_steps| Schedule { kind, warmup_steps: 10, decay_steps, ..Schedule::default() };
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

    #[test]
    fn steps_fall_at_milestones_or_every_period() {
        let step = Schedule { kind: Kind::Step, warmup_steps: 0, ..Schedule::default() };
        let at = Schedule { milestones: Some(vec![3, 5]), ..step.clone() };
        let factors: Vec<f64> = (0..7).map(|step| at.factor(step, None)).collect();
        assert_eq!(factors[..5], [1.0, 1.0, 1.0, 0.1, 0.1]);
        assert!((factors[5] - 0.01).abs() < 1e-12 && factors[6] == factors[5]);
        let every = Schedule { period: Some(2), factor: Some(0.5), ..step.clone() };
        assert_eq!([0, 1, 2, 3, 4].map(|step| every.factor(step, None)), [1.0, 1.0, 0.5, 0.5, 0.25]);
        assert_eq!(every.factor(u64::MAX, None), 0.0);
        assert_eq!([&at, &every].map(|schedule| schedule.faults().len()), [0, 0]);
        assert_eq!(step.faults()[0].0, "kind");
        let both = Schedule { period: Some(2), ..at.clone() };
        assert_eq!(both.faults()[0].0, "kind");
        let unsorted = Schedule { milestones: Some(vec![5, 5]), ..step.clone() };
        assert_eq!(unsorted.faults()[0].0, "milestones");
        let others = Schedule { peak: Some(2.0), factor: Some(2.0), ..every };
        assert_eq!(others.faults().iter().map(|fault| fault.0).collect::<Vec<_>>(), ["peak", "factor"]);
    }

    #[test]
    fn one_cycle_is_pytorchs() {
        let schedule = Schedule { kind: Kind::OneCycle, warmup_steps: 0, ..Schedule::default() };
        // torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1, total_steps=11)
        let expected = [
            0.04,
            0.4223411137347358,
            0.9602614247226174,
            0.9797465678213015,
            0.8844757247686303,
            0.7260870492975283,
            0.5305827080875998,
            0.3300580289872949,
            0.15743251279950787,
            0.041045543206290856,
            4e-6,
        ];
        for (step, expected) in expected.into_iter().enumerate() {
            let factor = schedule.factor(step as u64, Some(11));
            assert!((factor - expected).abs() < 1e-9, "step {step}: {factor} instead of {expected}");
        }
        assert_eq!(schedule.factor(99, Some(11)), schedule.factor(10, Some(11)));
        for steps in [0, 1, 2] {
            assert!((0..3).all(|step| schedule.factor(step, Some(steps)).is_finite()), "{steps} steps");
        }
    }
}
