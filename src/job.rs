//! A job: the typed content of `pipelines/*.toml`. Files hold only what differs from the
//! defaults; every fault in one is found in one go.

use crate::augmentation::AUGMENTATIONS;
use crate::device::{self, Precision};
use crate::document::{Document, Section, Settings, unknown};
use crate::error::{Error, Result};
use crate::method::{METHODS, filter};
use crate::model::MODELS;
use crate::registry::Spec;
use crate::sink::SINKS;
use crate::source::SOURCES;
use crate::student::optimiser::OPTIMISERS;
use crate::student::schedule::{self, Schedule};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// A resolved job: every default filled in, every component's options typed and in range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Name in reports; by default the file's.
    pub name: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Replicas. Only 1 so far.
    pub workers: usize,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// Threads of libtorch; by default the machine's cores.
    pub threads: usize,
    /// How exactly networks compute.
    pub precision: Precision,
    /// Where samples come from.
    pub source: Spec,
    /// How they are grouped.
    pub batch: Batch,
    /// How labelled ones are kept.
    pub memory: Memory,
    /// How they are augmented.
    pub views: Views,
    /// What is learned.
    pub model: Spec,
    /// What it is learned from.
    pub method: Spec,
    /// Who gives pseudo-labels.
    pub teacher: Teacher,
    /// What becomes of rejected samples.
    pub filter: Filter,
    /// How weights change.
    pub optimiser: Spec,
    /// How fast, over the steps.
    pub schedule: Schedule,
    /// The unit of reports.
    pub epoch: Epoch,
    /// When the job ends.
    pub stop: Stop,
    /// When state is saved.
    pub checkpoint: Checkpoint,
    /// How the job is evaluated and reported.
    pub report: Report,
    /// How much may be under way.
    pub flow: Flow,
    /// Who else is told.
    #[serde(default, rename = "sink", skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<Spec>,
}

/// The keys outside of any section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Top {
    name: String,
    seed: u64,
    workers: usize,
    device: String,
    threads: usize,
    precision: Precision,
}

impl Default for Top {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (name, device) = (String::new(), "auto".to_string());
        Self { name, seed: 0, workers: 1, device, threads: cores, precision: Precision::Auto }
    }
}

impl Settings for Top {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.workers != 1 {
            let reason = format!("{}: several workers are not there yet; only 1 is", self.workers);
            faults.push(("workers", reason));
        }
        if !device::is_name(&self.device) {
            let reason = format!("unknown device `{}` (known: auto, cpu, cuda:0, cuda:1, …)", self.device);
            faults.push(("device", reason));
        }
        at_least(&mut faults, "threads", self.threads, 1);
        faults
    }
}

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
    /// Most labelled samples that are kept; the newest stay.
    pub capacity: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { capacity: 100_000 }
    }
}

impl Settings for Memory {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "capacity", self.capacity, 1);
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
}

impl Settings for Filter {}

/// `[epoch]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Epoch {
    /// Steps an epoch.
    pub steps: u64,
}

impl Default for Epoch {
    fn default() -> Self {
        Self { steps: 100 }
    }
}

impl Settings for Epoch {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "steps", self.steps as usize, 1);
        faults
    }
}

/// `[stop]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// Epochs after which the job ends; 0 is never.
    pub epochs: u64,
}

impl Settings for Stop {}

/// `[checkpoint]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoint {
    /// Steps from one checkpoint to the next; 0 is only at the end.
    pub steps: u64,
    /// How many are kept.
    pub keep: usize,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self { steps: 500, keep: 3 }
    }
}

impl Settings for Checkpoint {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "keep", self.keep, 1);
        faults
    }
}

/// `[report]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Report {
    /// Epochs from one evaluation to the next; 0 is never.
    pub evaluate_epochs: u64,
    /// Most samples held out for evaluation.
    pub held_out: usize,
    /// Steps whose counts are fetched from the device at once.
    pub fetch_steps: u64,
}

impl Default for Report {
    fn default() -> Self {
        Self { evaluate_epochs: 1, held_out: 10_000, fetch_steps: 16 }
    }
}

impl Settings for Report {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "held_out", self.held_out, 1);
        at_least(&mut faults, "fetch_steps", self.fetch_steps as usize, 1);
        faults
    }
}

/// `[flow]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flow {
    /// Steps that may be under way at once: bounds the memory of samples on their way.
    pub window: u64,
}

impl Default for Flow {
    fn default() -> Self {
        Self { window: 4 }
    }
}

impl Settings for Flow {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "window", self.window as usize, 1);
        faults
    }
}

fn at_least(faults: &mut Vec<(&'static str, String)>, key: &'static str, value: usize, least: usize) {
    if value < least {
        faults.push((key, format!("{value} is too few: it must be {least} or more")));
    }
}

const SECTIONS: [&str; 15] = [
    "source",
    "batch",
    "memory",
    "views",
    "model",
    "method",
    "teacher",
    "filter",
    "optimiser",
    "schedule",
    "epoch",
    "stop",
    "checkpoint",
    "report",
    "flow",
];

impl Job {
    /// Reads a job file and lays `sets` (`key=value`) over it.
    pub fn load(path: &Path, sets: &[String]) -> Result<Job> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::file(path, format!("cannot read the job: {error}")))?;
        let stem = path.file_stem().map_or("job".into(), |stem| stem.to_string_lossy().into_owned());
        Self::parse(&path.display().to_string(), &stem, text, sets)
    }

    /// The job in `text`, called `file` in messages.
    pub fn parse(file: &str, stem: &str, text: String, sets: &[String]) -> Result<Job> {
        let texts = Document::texts(text, sets)?;
        let (mut document, mut root) = Document::parse(file, &texts, sets);
        let job = Self::read(&mut document, &mut root, stem);
        let faults = document.faults();
        match job {
            Some(job) if faults.is_empty() => Ok(job),
            _ => Err(Error::Job(faults)),
        }
    }

    fn read(document: &mut Document, root: &mut Section<'_>, stem: &str) -> Option<Job> {
        let known = ["name", "seed", "workers", "device", "threads", "precision", "sink"];
        for key in root.keys() {
            if !SECTIONS.contains(&key.as_str()) && !known.contains(&key.as_str()) {
                let all = [SECTIONS.as_slice(), known.as_slice()].concat();
                document.fault(root, &key, unknown("key", &key, &all));
                root.remove(&key);
            }
        }
        // Each is read before any is asked for, so that all faults are found.
        let mut section = |document: &mut Document, name| document.section(root, name);
        let source = section(document, "source");
        let source = SOURCES.resolve(document, source, None);
        let model = section(document, "model");
        let model = MODELS.resolve(document, model, Some("convnet"));
        let method = section(document, "method");
        let method = METHODS.resolve(document, method, Some("fixmatch"));
        let optimiser = section(document, "optimiser");
        let optimiser = OPTIMISERS.resolve(document, optimiser, Some("sgd"));
        macro_rules! typed {
            ($name:literal) => {{
                let section = section(document, $name);
                document.read(section)
            }};
        }
        let batch = typed!("batch");
        let memory = typed!("memory");
        let teacher = typed!("teacher");
        let filter = typed!("filter");
        let rates = section(document, "schedule");
        let schedule: Option<Schedule> = document.read(rates.clone());
        let epoch = typed!("epoch");
        let stop: Option<Stop> = typed!("stop");
        let checkpoint = typed!("checkpoint");
        let report = typed!("report");
        let flow = typed!("flow");
        let views = section(document, "views");
        let views = Self::read_views(document, views);
        let sinks = document.sections(root, "sink").unwrap_or_default();
        let sinks: Vec<Option<Spec>> =
            sinks.into_iter().map(|sink| SINKS.resolve(document, sink, None)).collect();
        if let (Some(schedule), Some(stop)) = (&schedule, &stop)
            && schedule.kind == schedule::Kind::Cosine
            && stop.epochs == 0
        {
            let reason = "\"cosine\" needs a job with an end: set stop.epochs, or use inverse-sqrt";
            document.fault(&rates, "kind", reason);
        }
        let top: Top = document.read(root.clone())?;
        Some(Job {
            name: if top.name.is_empty() { stem.to_string() } else { top.name },
            seed: top.seed,
            workers: top.workers,
            device: top.device,
            threads: top.threads,
            precision: top.precision,
            source: source?,
            batch: batch?,
            memory: memory?,
            views: views?,
            model: model?,
            method: method?,
            teacher: teacher?,
            filter: filter?,
            optimiser: optimiser?,
            schedule: schedule?,
            epoch: epoch?,
            stop: stop?,
            checkpoint: checkpoint?,
            report: report?,
            flow: flow?,
            sinks: sinks.into_iter().collect::<Option<_>>()?,
        })
    }

    fn read_views(document: &mut Document, mut section: Section<'_>) -> Option<Views> {
        let mut list = |document: &mut Document, name: &str| {
            let items = document.sections(&mut section, name)?;
            let all: Vec<Option<Spec>> =
                items.into_iter().map(|item| AUGMENTATIONS.resolve(document, item, None)).collect();
            Some(all.into_iter().collect::<Option<Vec<Spec>>>())
        };
        let weak = list(document, "weak");
        let labelled = list(document, "labelled");
        let strong = list(document, "strong");
        for key in section.keys() {
            let reason = unknown("key", &key, &["weak", "labelled", "strong"]);
            document.fault(&section, &key, reason);
        }
        let weak = weak.unwrap_or(Some(Vec::new()))?;
        let labelled = labelled.unwrap_or(Some(weak.clone()))?;
        Some(Views { weak, labelled, strong: strong.unwrap_or(Some(Vec::new()))? })
    }

    /// The job as a file with everything in it.
    pub fn resolved(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// Steps after which the job ends, if it does.
    pub fn stop_step(&self) -> Option<u64> {
        (self.stop.epochs > 0).then(|| self.stop.epochs.saturating_mul(self.epoch.steps))
    }

    /// The first key in which `self` differs from `saved` although a saved state cannot follow
    /// it there.
    pub fn differs(&self, saved: &Job) -> Option<String> {
        let table = |job: &Job| toml::Value::try_from(job).unwrap_or(toml::Value::Boolean(false));
        let (now, then) = (table(self), table(saved));
        FIXED.iter().find_map(|path| {
            let part = |job: &toml::Value| {
                path.split('.').try_fold(job.clone(), |value, key| value.get(key).cloned())
            };
            first_difference(path, part(&now).as_ref(), part(&then).as_ref())
        })
    }
}

/// What a saved state depends on.
const FIXED: [&str; 9] = [
    "seed",
    "workers",
    "source",
    "model",
    "method.kind",
    "optimiser.kind",
    "teacher.lag",
    "memory",
    "precision",
];
/// Options below those that may change all the same: they name a place or a bound.
const FREE: [&str; 4] = ["source.path", "source.max_bad", "source.dead_letter", "source.repeat"];

fn first_difference(path: &str, now: Option<&toml::Value>, then: Option<&toml::Value>) -> Option<String> {
    if now == then || FREE.contains(&path) {
        return None;
    }
    if let (Some(toml::Value::Table(now)), Some(toml::Value::Table(then))) = (now, then) {
        let keys = now.keys().chain(then.keys().filter(|key| !now.contains_key(*key)));
        return keys
            .map(|key| first_difference(&format!("{path}.{key}"), now.get(key), then.get(key)))
            .find(Option::is_some)?;
    }
    let show = |value: Option<&toml::Value>| value.map_or("nothing".into(), toml::Value::to_string);
    Some(format!("{path} is {} now, but {} in the state", show(now), show(then)))
}
