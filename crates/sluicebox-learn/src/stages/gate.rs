//! The calibrated gate: a confidence gate calibrated by late labels. The ledger joins late labels
//! with the earlier pseudo-labels of their samples. From these the gate estimates the present
//! precision of a class's pseudo-labels at or above a confidence, and sets the class's threshold to
//! the least one that reaches the job's target. A class that reaches it nowhere is closed.
//!
//! For class c and threshold t, let n be the number of pseudo-labels of class c with confidence t
//! or more that have met their label, and r the number of those that were right; both decay by
//! exp(-1 / `pace`) with every further label. P is the same precision over all classes:
//!
//! ```text
//! p = (r + m P) / (n + m)          shrunk towards all classes, m = 5
//! e = sqrt(p (1 - p) / (n + m))    standard error of p
//! ```
//!
//! The threshold of c is the least t with p - z e ≥ `precision`. Until `evidence` labels have met a
//! pseudo-label, the gate is open: it rejects nothing.
//!
//! Samples and thresholds stay on the device; the estimate uses only the ledger's numbers on the host.

use crate::device::upload::upload;
use crate::pseudo_labels::{Estimate, PseudoLabels};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::document::Settings as Checked;
use sluicebox_core::config::range::within;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::ledger::Verdict;
use sluicebox_core::state::{Stateful, decode, encode};
use tch::{Kind, Tensor};

/// Lower edges of the confidence bins.
const EDGES: [f32; 13] = [0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995];
/// m: weight, in pseudo-labels, of the precision over all classes.
const SHRINK: f64 = 5.0;
/// Threshold of a closed class: above every confidence.
const CLOSED: f32 = 2.0;

/// `[filter] gate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Target precision of accepted pseudo-labels, 0 to below 1.
    pub precision: f64,
    /// z: number of standard errors by which the estimate must exceed the target.
    pub certainty: f64,
    /// Time constant of the counts: number of further labels after which a pseudo-label counts 1/e.
    pub pace: f64,
    /// Number of labels that must meet a pseudo-label before the gate rejects anything.
    pub evidence: u64,
    /// Whether the gate's threshold replaces the method's even where it is lower.
    pub lower: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { precision: 0.9, certainty: 2.0, pace: 100.0, evidence: 20, lower: false }
    }
}

impl Checked for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        within(&mut faults, "precision", self.precision, 0.0..1.0);
        within(&mut faults, "certainty", self.certainty, 0.0..=10.0);
        within(&mut faults, "pace", self.pace, 1.0..=1e9);
        faults
    }
}

/// Decayed counts of pseudo-labels that met their label, by class and confidence bin.
pub struct Gate {
    settings: Settings,
    classes: usize,
    state: State,
}

/// Checkpointed state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// `[C · bins]`: decayed numbers of pseudo-labels that met their label.
    met: Vec<f64>,
    /// Those of them that were right.
    right: Vec<f64>,
    /// Number of labels that met a pseudo-label.
    seen: u64,
}

impl Gate {
    /// Creates a gate without evidence.
    pub fn new(settings: Settings, classes: usize) -> Self {
        let none = vec![0.0; classes * EDGES.len()];
        Self { settings, classes, state: State { met: none.clone(), right: none, seen: 0 } }
    }

    /// Counts the pseudo-labels that met their label in a step.
    pub fn learn(&mut self, met: &[Verdict]) {
        let stays = (-1.0 / self.settings.pace).exp();
        for Verdict { class, confidence, right, by } in met {
            let bin = EDGES.partition_point(|edge| edge <= confidence).max(1) - 1;
            let at = *class as usize * EDGES.len() + bin;
            if *by > 0 {
                let counts = self.state.met.iter_mut().chain(&mut self.state.right);
                counts.for_each(|count| *count *= stays);
                self.state.seen += 1;
            }
            // A correction subtracts 1 from a count that has decayed since: clamp at 0.
            let change = |count: &mut f64| *count = (*count + f64::from(*by)).max(0.0);
            change(&mut self.state.met[at]);
            if *right {
                change(&mut self.state.right[at]);
            }
        }
    }

    /// Returns the estimate for each class; `None` while the gate is open.
    pub fn estimates(&self) -> Option<Vec<Estimate>> {
        if self.state.seen < self.settings.evidence {
            return None;
        }
        let all: Vec<f64> = (0..EDGES.len())
            .map(|bin| {
                let parts = (0..self.classes).map(|class| self.at_least(class, bin));
                let (met, right) = parts.fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
                (right + 0.5) / (met + 1.0)
            })
            .collect();
        Some((0..self.classes).map(|class| self.estimate(class, &all)).collect())
    }

    /// Returns the numbers of met and of right pseudo-labels of a class in a bin and those above.
    fn at_least(&self, class: usize, bin: usize) -> (f64, f64) {
        let range = class * EDGES.len() + bin..(class + 1) * EDGES.len();
        (self.state.met[range.clone()].iter().sum(), self.state.right[range].iter().sum())
    }

    fn estimate(&self, class: usize, all: &[f64]) -> Estimate {
        let at = |bin: usize| {
            let (met, right) = self.at_least(class, bin);
            let precision = ((right + SHRINK * all[bin]) / (met + SHRINK)).min(1.0);
            let error = (precision * (1.0 - precision) / (met + SHRINK)).sqrt();
            (precision, precision - self.settings.certainty * error >= self.settings.precision)
        };
        let open = (0..EDGES.len()).find(|bin| at(*bin).1);
        Estimate { threshold: open.map(|bin| EDGES[bin]), precision: at(open.unwrap_or(EDGES.len() - 1)).0 }
    }

    /// Rejects pseudo-labels below their class's threshold. Returns the estimates; `None` while the
    /// gate is open.
    pub fn judge(&self, pseudo_labels: &mut PseudoLabels) -> Option<Vec<Estimate>> {
        let estimates = self.estimates()?;
        let device = pseudo_labels.weight.device();
        let least = |estimate: &Estimate| estimate.threshold.unwrap_or(CLOSED);
        let least: Vec<f32> = estimates.iter().map(least).collect();
        let least = upload(&Tensor::from_slice(&least), device); // [C]
        let passes = pseudo_labels.confidence.ge_tensor(&least.index_select(0, &pseudo_labels.class));
        let passes = passes.to_kind(Kind::Float);
        let least = least.clamp_max(1.0); // as reported
        pseudo_labels.threshold = match &pseudo_labels.threshold {
            // `lower`: the gate's threshold replaces the method's.
            Some(_) if self.settings.lower => {
                pseudo_labels.weight = passes;
                Some(least)
            }
            Some(own) => {
                pseudo_labels.weight = &pseudo_labels.weight * passes;
                Some(least.maximum(own))
            }
            None => {
                pseudo_labels.weight = &pseudo_labels.weight * passes;
                Some(least)
            }
        };
        Some(estimates)
    }
}

impl Stateful for Gate {
    fn save(&self) -> Result<Vec<u8>> {
        encode("the gate", &self.state)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let state: State = decode("the gate", state)?;
        if state.met.len() != self.state.met.len() {
            return Err(Error::request("the gate's state does not fit the job"));
        }
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn met(class: u32, confidence: f32, right: bool) -> Verdict {
        Verdict { class, confidence, right, by: 1 }
    }

    fn gate(precision: f64) -> Gate {
        Gate::new(Settings { precision, pace: 1e9, lower: true, ..Settings::default() }, 2)
    }

    /// Class 0 is always right from 0.8 on, class 1 too rarely at any confidence.
    fn evidence() -> Vec<Verdict> {
        let of = |at: u32| {
            [
                met(0, 0.85, true),
                met(0, 0.75, at.is_multiple_of(2)),
                met(1, 0.97, at.is_multiple_of(3)),
                met(1, 0.999, at.is_multiple_of(2)),
            ]
        };
        (0..60).flat_map(of).collect()
    }

    #[test]
    fn the_estimate_is_the_formula() {
        let mut gate = gate(0.9);
        gate.learn(&evidence());
        let found = gate.estimates().unwrap();
        // Class 0 from 0.8 on: 60 of 60; all classes: 60 + 20 + 30 of 180.
        let all = (110.0 + 0.5) / 181.0;
        let by_hand = (60.0 + 5.0 * all) / 65.0;
        assert_eq!(found[0].threshold, Some(0.8));
        assert!((found[0].precision - by_hand).abs() < 1e-6); // a little has faded
        // Class 1 is best at 0.995: 30 of 60.
        assert_eq!(found[1].threshold, None);
        assert!((found[1].precision - (30.0 + 5.0 * 30.5 / 61.0) / 65.0).abs() < 1e-6);
    }

    #[test]
    fn it_stands_open_until_there_is_evidence_and_forgets() {
        let mut gate = Gate::new(Settings { pace: 20.0, ..Settings::default() }, 2);
        gate.learn(&evidence()[..16]);
        assert!(gate.estimates().is_none());
        gate.learn(&evidence());
        assert_eq!(gate.estimates().unwrap()[1].threshold, None);
        let later: Vec<Verdict> = (0..200).map(|_| met(1, 0.96, true)).collect();
        gate.learn(&later);
        assert!(gate.estimates().unwrap()[1].threshold.is_some());
    }

    #[test]
    fn thresholds_move_and_a_restored_gate_is_the_same() {
        let mut first = gate(0.9);
        first.learn(&evidence());
        let mut second = gate(0.9);
        second.load(&first.save().unwrap()).unwrap();
        for gate in [first, second] {
            let class = Tensor::from_slice(&[0i64, 0, 0, 1]);
            let confidence = Tensor::from_slice(&[0.9f32, 0.86, 0.7, 0.999]);
            let weight = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 1.0]);
            let own = Some(Tensor::from_slice(&[0.9f32]));
            let mut pseudo_labels =
                PseudoLabels { threshold: own, ..PseudoLabels::hard(class, confidence, weight) };
            gate.judge(&mut pseudo_labels).unwrap();
            let weight: Vec<f32> = pseudo_labels.weight.try_into().unwrap();
            assert_eq!(weight, [1.0, 1.0, 0.0, 0.0]);
            let nothing = &mut PseudoLabels::none(Device::Cpu);
            gate.judge(nothing);
        }
        assert!(gate(0.5).load(b"bad").is_err());
    }
}
