//! The plain sections of a job that say how it learns: their keys, defaults and ranges.

use super::sections::at_least;
use crate::document::Settings;
use crate::method::{filter, gate};
use crate::registry::Spec;
use crate::student::memory::Keep;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

/// `[batch]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// Labelled samples a step.
    pub labelled: usize,
    /// Unlabelled samples a step.
    pub unlabelled: usize,
    /// A partial batch is closed when its first sample has waited this long.
    #[serde(with = "humantime_serde")]
    pub max_wait: Duration,
}

impl Default for Batch {
    fn default() -> Self {
        Self { labelled: 64, unlabelled: 448, max_wait: Duration::from_millis(200) }
    }
}

impl Settings for Batch {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "labelled", self.labelled, 1);
        at_least(&mut faults, "unlabelled", self.unlabelled, 1);
        faults
    }
}

/// `[memory]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Most labelled samples that are kept.
    pub capacity: usize,
    /// Most bytes of their values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// Which are kept where there are too many.
    pub keep: Keep,
    /// Which of them a step trains on. By default `recent` where labels can come
    /// late (from outside: once 20 have come, docs/drift.md), else `uniform`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// `recent`: age, in labelled samples, at which a sample's weight has fallen to 1/e. By default
    /// learned from the labels that come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pace: Option<f64>,
}

/// Which labelled samples a step trains on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replay {
    /// Any, each as likely.
    Uniform,
    /// The newer the likelier.
    Recent,
    /// Those most like the step's unlabelled samples.
    Similar,
}

impl Default for Memory {
    fn default() -> Self {
        Self { capacity: 100_000, bytes: None, keep: Keep::Newest, replay: None, pace: None }
    }
}

impl Settings for Memory {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "capacity", self.capacity, 1);
        at_least(&mut faults, "bytes", self.bytes.unwrap_or(1), 1);
        if !(1.0..=1e9).contains(&self.pace.unwrap_or(1.0)) {
            faults.push(("pace", "must be from 1 to 1e9 labelled samples".into()));
        }
        faults
    }
}

/// `[answer]`: from what the network says to what is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// For which class prior. By default `present` where labels can come late, else `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior: Option<Prior>,
    /// Discriminants have their say as well. By default where labels can come late, unless a prior is
    /// given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blend: Option<bool>,
    /// Newest unlabelled samples from which the prior is told.
    pub window: usize,
    /// What the network's log probabilities count where a prior is asked for: it is over-confident
    /// of what it has not seen.
    pub temper: f64,
}

/// For which class prior answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prior {
    /// That of what was learned.
    None,
    /// That of the present stream, as far as it is told from unlabelled samples.
    Present,
    /// That of the labelled samples that are replayed, which the stream is said to have: answers
    /// are made to come as often.
    Labelled,
    /// Classes alike, likewise.
    Uniform,
}

impl Default for Answer {
    fn default() -> Self {
        Self { prior: None, blend: None, window: 200, temper: 0.7 }
    }
}

impl Settings for Answer {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "window", self.window, 1);
        if !(self.temper > 0.0 && self.temper <= 1.0) {
            faults.push(("temper", format!("{} is not above 0 and at most 1", self.temper)));
        }
        faults
    }
}

/// `[views]`: lists of augmentations, applied in their order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Views {
    /// What the teacher sees.
    pub weak: Vec<Spec>,
    /// What the student sees of labelled samples; by default the same.
    pub labelled: Vec<Spec>,
    /// What the student sees of unlabelled samples.
    pub strong: Vec<Spec>,
}

/// `[teacher]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Teacher {
    /// Part of the teacher that stays at each step; the rest comes from the student. 0: the
    /// student is its own teacher.
    pub ema: f64,
    /// Steps from the student to the teacher. 1 is the sequential algorithm.
    pub lag: u64,
}

impl Default for Teacher {
    fn default() -> Self {
        Self { ema: 0.999, lag: 1 }
    }
}

impl Settings for Teacher {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !(0.0..1.0).contains(&self.ema) {
            faults.push(("ema", format!("{} is not from 0 to below 1", self.ema)));
        }
        if !(1..=1024).contains(&self.lag) {
            faults.push(("lag", format!("{} is not from 1 to 1024", self.lag)));
        }
        faults
    }
}

/// `[filter]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// What becomes of rejected samples.
    pub mode: filter::Mode,
    /// Moves thresholds by how right pseudo-labels are: true, false, or its settings. By default
    /// where labels can come late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gated>,
}

/// `filter.gate`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Gated {
    /// As it is by default, or not at all.
    Plain(bool),
    /// With these settings.
    With(gate::Settings),
}

impl<'de> Deserialize<'de> for Gated {
    /// By hand, so that an unknown key is named.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Boolean(on) => Ok(Gated::Plain(on)),
            settings => {
                let settings = settings.try_into();
                settings.map(Gated::With).map_err(|error: toml::de::Error| Error::custom(error.message()))
            }
        }
    }
}

impl Filter {
    /// The gate's settings, where there is one; `by_default` says whether there is where the job
    /// does not say.
    pub fn gate(&self, by_default: bool) -> Option<gate::Settings> {
        match &self.gate {
            None => by_default.then(gate::Settings::default),
            Some(Gated::Plain(on)) => on.then(gate::Settings::default),
            Some(Gated::With(settings)) => Some(settings.clone()),
        }
    }
}

impl Settings for Filter {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let Some(Gated::With(settings)) = &self.gate else { return Vec::new() };
        let named = |(key, reason)| ("gate", format!("{key}: {reason}"));
        settings.faults().into_iter().map(named).collect()
    }
}
