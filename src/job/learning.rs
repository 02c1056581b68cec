//! Sections of a job about learning: their keys, defaults and ranges.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use sluicebox_core::config::document::{Document, Section, Settings, unknown};
use sluicebox_core::config::range::{above_to, at_least, within};
use sluicebox_core::config::registry::Spec;
use sluicebox_learn::adapt::learned::Kind;
use sluicebox_learn::adapt::prior::Prior;
use sluicebox_learn::augmentation::AUGMENTATIONS;
use sluicebox_learn::replay::buffer::Keep;
use sluicebox_learn::replay::draw::Replay;
use sluicebox_learn::stages::filter::{self, PseudoLabelsFrom};
use sluicebox_learn::stages::gate;
use sluicebox_learn::stages::prototype_fit;
use std::time::Duration;

/// `[batch]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// Labelled samples per step.
    pub labelled: usize,
    /// Unlabelled samples per step.
    pub unlabelled: usize,
    /// Updates per step. The first trains on the step's labelled and accepted samples, each further one on other
    /// labelled samples alone.
    pub updates: usize,
    /// Updates on labelled samples alone as soon as `labelled` of them are known, of two classes at least: before the
    /// network answers for the stream. 0 is none.
    pub warmup_steps: usize,
    /// Longest time that the first sample of a partial batch waits; after it the batch is closed.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_wait: Duration,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            labelled: 64,
            unlabelled: 448,
            updates: 1,
            warmup_steps: 0,
            max_wait: Duration::from_millis(200),
        }
    }
}

impl Batch {
    /// Returns the keys whose samples are too few for a number of workers, each with the reason.
    pub fn too_small_for(&self, workers: usize) -> Vec<(&'static str, String)> {
        let sizes = [("labelled", self.labelled), ("unlabelled", self.unlabelled)];
        let few = |(_, samples): &(_, usize)| workers > 1 && *samples < 2 * workers;
        let reason =
            |samples| format!("{samples} is too few for {workers} workers: each needs 2 of a step's samples");
        sizes.into_iter().filter(few).map(|(key, samples)| (key, reason(samples))).collect()
    }
}

impl Settings for Batch {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "labelled", self.labelled, 1);
        at_least(&mut faults, "unlabelled", self.unlabelled, 1);
        within(&mut faults, "updates", self.updates as f64, 1.0..=64.0);
        // The samples of a whole warm-up are in memory at once.
        within(&mut faults, "warmup_steps", self.warmup_steps as f64, 0.0..=1000.0);
        faults
    }
}

/// `[memory]`: the replay buffer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Most labelled samples kept.
    pub capacity: usize,
    /// Most bytes of their values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// Which samples are kept when the buffer is full.
    pub keep: Keep,
    /// Which samples a step trains on. By default `recent` where labels can come late (for labels from
    /// outside: after the first 20, docs/drift.md), else `uniform`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// `recent`: age, in labelled samples, at which a sample's weight has fallen to 1/e. By default learned
    /// from late labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pace: Option<f64>,
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
        within(&mut faults, "pace", self.pace.unwrap_or(1.0), 1.0..=1e9);
        faults
    }
}

/// `[answer]`: blends the network's probabilities with those of the experts and adapts them to the stream's class prior.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// Target class prior. By default `present` where labels can come late, else `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior: Option<Prior>,
    /// Blends in the experts. By default where labels can come late, unless `prior` is `labelled`, `uniform` or `blank`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blend: Option<bool>,
    /// Kinds of experts. By default all for vectors, `["discriminants"]` for images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experts: Option<Vec<Kind>>,
    /// Whose predictions become pseudo-labels.
    pub pseudo_labels: PseudoLabelsFrom,
    /// Answers by a prototype of each class, which follows the stream, in place of the network's last layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prototypes: Option<prototype_fit::Settings>,
    /// Newest unlabelled samples from which the prior is estimated, and which prototypes follow.
    pub window: usize,
    /// Exponent (inverse temperature, above 0 and at most 1) on the probabilities before they are corrected to a prior
    /// that is given; below 1 it counters over-confidence.
    pub temper: f64,
    /// Value of every feature of the blank sample of `prior = "blank"`, as the network gets it: 0 is black, or the mean of a
    /// standardised feature.
    pub blank: f64,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            prior: None,
            blend: None,
            experts: None,
            pseudo_labels: PseudoLabelsFrom::Answer,
            prototypes: None,
            window: 200,
            temper: 0.7,
            blank: 0.0,
        }
    }
}

impl Settings for Answer {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "window", self.window, 1);
        let kinds = self.experts.as_deref().unwrap_or(&Kind::ALL);
        if kinds.is_empty() {
            faults.push(("experts", "names no kind: answer.blend = false answers without experts".into()));
        }
        if (1..kinds.len()).any(|at| kinds[..at].contains(&kinds[at])) {
            faults.push(("experts", "names a kind twice".into()));
        }
        within(&mut faults, "temper", self.temper, above_to(0.0, 1.0));
        within(&mut faults, "blank", self.blank, -1e6..=1e6);
        let fault = self.prototypes.and_then(|prototypes| prototypes.fault());
        faults.extend(fault.map(|reason| ("prototypes", reason)));
        faults
    }
}

/// `[views]`: lists of augmentations, applied in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Views {
    /// Augmentations of the teacher's input.
    pub weak: Vec<Spec>,
    /// Augmentations of labelled samples for the student; by default those of `weak`.
    pub labelled: Vec<Spec>,
    /// Augmentations of unlabelled samples for the student.
    pub strong: Vec<Spec>,
    /// Weaker ones of unlabelled samples for the student, for methods that want both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Vec<Spec>>,
}

impl Views {
    /// Returns the augmentations of medium views: by default the first of `strong` alone.
    pub fn medium(&self) -> &[Spec] {
        self.medium.as_deref().unwrap_or(&self.strong[..self.strong.len().min(1)])
    }

    /// Reads the lists; none if an augmentation is invalid.
    pub fn read(document: &mut Document, mut section: Section<'_>) -> Option<Views> {
        let mut list = |document: &mut Document, name: &str| {
            let items = document.sections(&mut section, name)?;
            let all: Vec<Option<Spec>> =
                items.into_iter().map(|item| AUGMENTATIONS.resolve(document, item, None)).collect();
            Some(all.into_iter().collect::<Option<Vec<Spec>>>())
        };
        let weak = list(document, "weak");
        let labelled = list(document, "labelled");
        let strong = list(document, "strong");
        let medium = list(document, "medium");
        for key in section.keys() {
            let reason = unknown("key", &key, &["weak", "labelled", "strong", "medium"]);
            document.fault(&section, &key, reason);
        }
        let weak = weak.unwrap_or(Some(Vec::new()))?;
        let labelled = labelled.unwrap_or(Some(weak.clone()))?;
        let medium = match medium {
            Some(specs) => Some(specs?),
            None => None,
        };
        Some(Views { weak, labelled, strong: strong.unwrap_or(Some(Vec::new()))?, medium })
    }
}

/// `[teacher]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Teacher {
    /// Fraction of the teacher's weights kept at each step (EMA decay); the rest comes from the student. 0:
    /// the student is its own teacher.
    pub ema: f64,
    /// Delay of the weights from student to teacher, in steps. 1 is the sequential algorithm.
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
        within(&mut faults, "ema", self.ema, 0.0..1.0);
        within(&mut faults, "lag", self.lag as f64, 1.0..=1024.0);
        faults
    }
}

/// `[filter]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Treatment of rejected samples.
    pub mode: filter::Mode,
    /// Calibrates the method's confidence thresholds by late labels: true, false, or the gate's settings. By
    /// default on where labels can come late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gated>,
}

/// `filter.gate`.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Gated {
    /// With default settings, or off.
    Plain(bool),
    /// With these settings.
    With(gate::Settings),
}

impl<'de> Deserialize<'de> for Gated {
    /// Written by hand, so that an error names the unknown key.
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

impl Settings for Filter {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let Some(Gated::With(settings)) = &self.gate else { return Vec::new() };
        let named = |(key, reason)| ("gate", format!("{key}: {reason}"));
        settings.faults().into_iter().map(named).collect()
    }
}
