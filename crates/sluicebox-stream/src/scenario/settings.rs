//! `[scenario]`: changes of a job's stream over time.

use crate::drift::Drift;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::document;
use sluicebox_core::config::range::within;

/// `[scenario]`. The defaults change nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Number of successive phases; 0: none.
    pub phases: usize,
    /// Samples of the stream per phase. The last phase lasts until the stream ends.
    pub phase_samples: u64,
    /// Difference between the phases.
    pub split: Split,
    /// All class names in the order in which phases introduce them; by default the source's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
    /// Whether the first phase follows the last again.
    pub recurring: bool,
    /// Change of the samples themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Ratio of the first class's frequency to the last's (γ). 1: no samples are dropped.
    pub imbalance: f64,
    /// Whether the last class is the most frequent one instead.
    pub reversed: bool,
    /// Ratio of the first class's number of initial labels to the last's. 1: no labelled samples are dropped.
    pub labelled_imbalance: f64,
    /// Fraction of labels, initial and simulated late ones, that name another class.
    pub label_noise: f64,
    /// Fraction of the stream's samples that are made to be of no class: quarters of an image change places and are turned,
    /// values of a vector change places.
    pub foreign: f64,
}

/// Difference between the phases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Each phase has its own classes.
    #[default]
    Classes,
    /// Every phase has all classes; `drift` grows from phase to phase.
    Domain,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            phases: 0,
            phase_samples: 10_000,
            split: Split::Classes,
            order: Vec::new(),
            recurring: false,
            drift: None,
            imbalance: 1.0,
            reversed: false,
            labelled_imbalance: 1.0,
            label_noise: 0.0,
            foreign: 0.0,
        }
    }
}

impl Scenario {
    /// Returns whether the scenario changes samples or initial labels.
    pub fn changes(&self) -> bool {
        *self != Self { order: self.order.clone(), ..Self::default() }
    }
}

impl document::Settings for Scenario {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.phases == 1 || self.phases > 1000 {
            faults.push(("phases", format!("{} is neither 0 (none) nor from 2 to 1000", self.phases)));
        }
        if self.phase_samples == 0 {
            faults.push(("phase_samples", "a phase must have 1 sample or more".into()));
        }
        if self.recurring && self.phases == 0 {
            faults.push(("recurring", "it needs phases: set phases too".into()));
        }
        if self.split == Split::Domain && (self.phases == 0 || self.drift.is_none()) {
            faults.push(("split", "\"domain\" needs phases, and drift to tell them apart".into()));
        }
        within(&mut faults, "imbalance", self.imbalance, 1.0..=1e6);
        within(&mut faults, "labelled_imbalance", self.labelled_imbalance, 1.0..=1e6);
        within(&mut faults, "label_noise", self.label_noise, 0.0..=1.0);
        within(&mut faults, "foreign", self.foreign, 0.0..=1.0);
        let drift = self.drift.iter().flat_map(Drift::faults);
        faults.extend(drift.map(|reason| ("drift", reason)));
        faults
    }
}
