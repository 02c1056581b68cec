//! A job: the typed content of `pipelines/*.toml`. Files hold only what differs from the defaults; loading a
//! file reports all of its faults at once.

mod learning;
mod sections;
pub mod sinks;

use crate::engine::drift::Drift;
use crate::job::sinks::SINKS;
pub use learning::{Answer, Batch, Filter, Gated, Memory, Teacher, Views};
use sections::Top;
pub use sections::{Checkpoint, Epoch, Flow, Labels, Ledger};
pub use sections::{Report, Server, Stop};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::document::{Document, Section, unknown};
use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::augmentation::AUGMENTATIONS;
use sluicebox_learn::device::Precision;
use sluicebox_learn::method::METHODS;
use sluicebox_learn::model::MODELS;
use sluicebox_learn::optimiser::OPTIMISERS;
use sluicebox_learn::regularise;
use sluicebox_learn::schedule;
use sluicebox_learn::schedule::Schedule;
use sluicebox_observe::history::settings::History;
use sluicebox_stream::scenario::Scenario;
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::wal::settings::LogSettings;
use std::path::Path;

/// A resolved job: every default filled in, every component's options typed and in range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Name in reports; by default the file's name.
    pub name: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Number of replicas; only 1 is supported.
    pub workers: usize,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// Threads of libtorch; by default one per core of the machine.
    pub threads: usize,
    /// Arithmetic precision of networks.
    pub precision: Precision,
    /// `[source]`: one source, or several with weights.
    #[serde(rename = "source", with = "one_or_more")]
    pub sources: Vec<Stream>,
    /// `[scenario]`: changes of the stream over time.
    #[serde(default)]
    pub scenario: Scenario,
    /// `[batch]`: batch sizes.
    pub batch: Batch,
    /// `[memory]`: replay buffer of labelled samples.
    pub memory: Memory,
    /// `[answer]`: prior correction.
    pub answer: Answer,
    /// `[views]`: augmentations.
    pub views: Views,
    /// `[model]`: network.
    pub model: Spec,
    /// `[method]`: semi-supervised method.
    pub method: Spec,
    /// `[teacher]`: EMA and lag of the teacher.
    pub teacher: Teacher,
    /// `[filter]`: confidence gate and treatment of rejected samples.
    pub filter: Filter,
    /// `[optimiser]`: optimiser of the student.
    pub optimiser: Spec,
    /// `[schedule]`: learning rate over the steps.
    pub schedule: Schedule,
    /// `[regularise]`: losses on the student besides the method's.
    pub regularise: regularise::Settings,
    /// `[epoch]`: length of an epoch, the unit of reports.
    pub epoch: Epoch,
    /// `[stop]`: end of the job.
    pub stop: Stop,
    /// `[checkpoint]`: interval and number of checkpoints.
    pub checkpoint: Checkpoint,
    /// `[report]`: evaluation and reports.
    pub report: Report,
    /// `[drift]`: drift detector and reaction to its alarms.
    #[serde(default)]
    pub drift: Drift,
    /// `[history]`: retention of reports.
    pub history: History,
    /// `[flow]`: steps in flight.
    pub flow: Flow,
    /// `[labels]`: late labels.
    pub labels: Labels,
    /// `[ledger]`: retention of pseudo-labels and labels.
    pub ledger: Ledger,
    /// `[log]`: write-ahead log of samples that cannot be read again from their source.
    pub log: LogSettings,
    /// `[server]`: HTTP for samples, labels and predictions.
    pub server: Server,
    /// `[[sink]]`: further outputs.
    #[serde(default, rename = "sink", skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<Spec>,
}

/// One source of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Share of this source in each step, relative to the other sources. 0: only its labelled and held-out
    /// samples are used.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: f64,
    /// Kind and options of the source.
    #[serde(flatten)]
    pub spec: Spec,
}

fn one() -> f64 {
    1.0
}

fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

/// A single source is written as a table, several as a list of tables.
mod one_or_more {
    use super::Stream;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(streams: &[Stream], serializer: S) -> Result<S::Ok, S::Error> {
        match streams {
            [single] => single.serialize(serializer),
            several => several.serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Stream>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Streams {
            Single(Stream),
            Several(Vec<Stream>),
        }
        Ok(match Streams::deserialize(deserializer)? {
            Streams::Single(stream) => vec![stream],
            Streams::Several(streams) => streams,
        })
    }
}

const SECTIONS: [&str; 24] = [
    "source",
    "scenario",
    "batch",
    "memory",
    "answer",
    "views",
    "model",
    "method",
    "teacher",
    "filter",
    "optimiser",
    "schedule",
    "regularise",
    "epoch",
    "stop",
    "checkpoint",
    "report",
    "drift",
    "history",
    "flow",
    "labels",
    "ledger",
    "log",
    "server",
];

impl Job {
    /// Reads a job file and applies the overrides `sets` (`key=value`).
    pub fn load(path: &Path, sets: &[String]) -> Result<Job> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::file(path, format!("cannot read the job: {error}")))?;
        let stem = path.file_stem().map_or("job".into(), |stem| stem.to_string_lossy().into_owned());
        Self::parse(&path.display().to_string(), &stem, text, sets)
    }

    /// Parses the job in `text`, called `file` in messages.
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
        // All sections are read before any is used, so that all faults are reported.
        let sources = Self::read_sources(document, root);
        let mut section = |document: &mut Document, name| document.section(root, name);
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
        let scenario = typed!("scenario");
        let batch = typed!("batch");
        let memory = typed!("memory");
        let answer = typed!("answer");
        let teacher = typed!("teacher");
        let filter = typed!("filter");
        let rates = section(document, "schedule");
        let schedule: Option<Schedule> = document.read(rates.clone());
        let regularise = typed!("regularise");
        let epoch = typed!("epoch");
        let stop: Option<Stop> = typed!("stop");
        let checkpoint = typed!("checkpoint");
        let report = typed!("report");
        let drift = typed!("drift");
        let history = typed!("history");
        let flow = typed!("flow");
        let labels = typed!("labels");
        let ledger = typed!("ledger");
        let log = typed!("log");
        let server = typed!("server");
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
            sources: sources?,
            scenario: scenario?,
            batch: batch?,
            memory: memory?,
            answer: answer?,
            views: views?,
            model: model?,
            method: method?,
            teacher: teacher?,
            filter: filter?,
            optimiser: optimiser?,
            schedule: schedule?,
            regularise: regularise?,
            epoch: epoch?,
            stop: stop?,
            checkpoint: checkpoint?,
            report: report?,
            drift: drift?,
            history: history?,
            flow: flow?,
            labels: labels?,
            ledger: ledger?,
            log: log?,
            server: server?,
            sinks: sinks.into_iter().collect::<Option<_>>()?,
        })
    }

    fn read_sources(document: &mut Document, root: &mut Section<'_>) -> Option<Vec<Stream>> {
        let sections = document.one_or_more(root, "source");
        let mut streams = Vec::new();
        for mut section in sections {
            let whole = section.clone();
            let weight = document.number(&mut section, "weight").unwrap_or(1.0);
            if !(0.0..=1e9).contains(&weight) {
                document.fault(&whole, "weight", format!("{weight} is not 0 or more"));
            }
            streams.push(SOURCES.resolve(document, section, None).map(|spec| Stream { weight, spec }));
        }
        let streams: Vec<Stream> = streams.into_iter().collect::<Option<_>>()?;
        if streams.iter().all(|stream| stream.weight == 0.0) {
            document.fault(root, "source", "every source has weight 0, so there is no stream");
        }
        Some(streams)
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

    /// Returns the job as TOML with every default filled in.
    pub fn resolved(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// Number of steps after which the job ends, if it ends.
    pub fn stop_step(&self) -> Option<u64> {
        (self.stop.epochs > 0).then(|| self.stop.epochs.saturating_mul(self.epoch.steps))
    }

    /// Returns the first difference of `self` from `saved` with which a saved state cannot be resumed.
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

/// Keys that a saved state depends on.
const FIXED: [&str; 11] = [
    "seed",
    "workers",
    "source",
    "scenario",
    "model",
    "method.kind",
    "optimiser.kind",
    "teacher.lag",
    "memory",
    "answer",
    "precision",
];
/// Keys below those of [`FIXED`] that may change nevertheless: places and bounds.
const FREE: [&str; 14] = [
    "model.path",
    "source.path",
    "source.max_bad",
    "source.dead_letter",
    "source.repeat",
    "source.follow",
    "source.settle",
    "source.poll",
    "source.brokers",
    "source.properties",
    "source.properties_file",
    "source.connect_timeout",
    "source.buffer_bytes",
    "source.on_gap",
];

fn first_difference(path: &str, now: Option<&toml::Value>, then: Option<&toml::Value>) -> Option<String> {
    // An option is free in every source.
    let plain = path.split_once('[').map_or(path.to_string(), |(list, rest)| {
        format!("{list}{}", rest.split_once(']').map_or("", |(_, rest)| rest))
    });
    if now == then || FREE.contains(&plain.as_str()) {
        return None;
    }
    match (now, then) {
        (Some(toml::Value::Table(now)), Some(toml::Value::Table(then))) => {
            let mut keys = now.keys().chain(then.keys().filter(|key| !now.contains_key(*key)));
            keys.find_map(|key| first_difference(&format!("{path}.{key}"), now.get(key), then.get(key)))
        }
        (Some(toml::Value::Array(now)), Some(toml::Value::Array(then))) if now.len() == then.len() => {
            let mut pairs = now.iter().zip(then).enumerate();
            pairs.find_map(|(at, (now, then))| {
                first_difference(&format!("{path}[{at}]"), Some(now), Some(then))
            })
        }
        _ => {
            let show = |value: Option<&toml::Value>| value.map_or("nothing".into(), toml::Value::to_string);
            Some(format!("{path} is {} now, but {} in the state", show(now), show(then)))
        }
    }
}
