//! A job: the typed content of `pipelines/*.toml`. Files hold only what differs from the defaults; loading a
//! file reports all of its faults at once.

pub mod advice;
pub mod compatibility;
mod components;
pub mod difference;
pub mod effective;
mod learning;
mod log_room;
pub mod pixels;
pub mod reference;
pub mod schema;
mod sections;
pub mod sinks;
mod streams;
mod suits;
pub mod workers;

use crate::engine::drift::Drift;
use crate::job::sinks::SINKS;
pub use crate::serve::settings::Server;
pub use learning::{Answer, Batch, Filter, Gated, Memory, Teacher, Views};
use sections::Top;
pub use sections::{Checkpoint, Epoch, Flow, Labels, Ledger, Report, Stop};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::document::{Document, Section, unknown};
use sluicebox_core::config::registry::Spec;
use sluicebox_core::config::spelling::canonical;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use sluicebox_learn::class_weights;
use sluicebox_learn::device::Precision;
use sluicebox_learn::method::METHODS;
use sluicebox_learn::model;
use sluicebox_learn::optimiser::OPTIMISERS;
use sluicebox_learn::regularise;
use sluicebox_learn::schedule::Schedule;
use sluicebox_learn::standardise;
use sluicebox_observe::history::settings::History;
use sluicebox_stream::scenario::Scenario;
use sluicebox_stream::wal::settings::LogSettings;
use std::path::Path;
pub use streams::Stream;
use workers::Workers;

/// Makes the job of its sections, one row each: name in the file, type, and how it is read where it is not
/// only typed and checked. A row has `#[serde(default)]`, so that a job is read that was saved before the section
/// existed.
macro_rules! sections {
    ($($(#[doc = $about:literal])+ $(#[serde($serde:ident)])? $name:ident: $type:ty $(= $read:expr)?,)+) => {
        /// A resolved job: every default filled in, every component's options typed and in range.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct Job {
            /// Name in reports; by default the file's name.
            pub name: String,
            /// Seed of every random choice.
            pub seed: u64,
            /// Number of workers: threads that each compute their part of a step, on their own GPU or on their share of the
            /// cores.
            pub workers: usize,
            /// Number of processes that the workers are dealt over.
            #[serde(default = "sections::one")]
            pub processes: usize,
            /// `auto`, `cpu`, `cuda:N`, or `cuda`: GPU i for worker i.
            pub device: String,
            /// Whether that number was chosen for this machine (`auto`): a job that resumes keeps the one it began with.
            #[serde(skip)]
            pub auto_workers: bool,
            /// Threads of libtorch per worker; by default the machine's cores divided among the workers.
            pub threads: usize,
            /// Arithmetic precision of networks.
            pub precision: Precision,
            /// `[source]`: one source, or several with weights.
            #[serde(rename = "source", with = "streams")]
            pub sources: Vec<Stream>,
            $($(#[doc = $about])+ $(#[serde($serde)])? pub $name: $type,)+
            /// `[[sink]]`: further outputs.
            #[serde(default, rename = "sink", skip_serializing_if = "Vec::is_empty")]
            pub sinks: Vec<Spec>,
        }

        /// Names of the sections.
        const SECTIONS: &[&str] = &["source", $(stringify!($name)),+];

        /// Returns the sections for the schema of a job file, in their order.
        fn described() -> Vec<components::Described> {
            vec![$(components::Described {
                name: stringify!($name),
                about: concat!($($about),+),
                schema: sections!(@schema $name, $type $(, $read)?),
            }),+]
        }

        /// The sections of a file; none where one is invalid.
        struct Sections {
            $($name: Option<$type>,)+
        }

        impl Sections {
            /// Reads every section, so that the faults of all are reported.
            fn read(document: &mut Document, root: &mut Section<'_>) -> Self {
                $(
                    let section = document.section(root, stringify!($name));
                    let $name = sections!(@read document, section $(, $read)?);
                )+
                Self { $($name,)+ }
            }

            /// Returns the job, if every section is valid.
            fn job(self, top: Top, workers: usize, sources: Vec<Stream>, sinks: Vec<Spec>) -> Option<Job> {
                let (auto_workers, threads) = (top.workers == Workers::Auto, top.threads_of(workers));
                $(let $name = self.$name?;)+
                let Top { name, seed, processes, device, precision, .. } = top;
                Some(Job {
                    name, seed, workers, auto_workers, processes, device, threads, precision, sources, $($name,)+ sinks
                })
            }
        }
    };
    (@read $document:ident, $section:ident) => { $document.read($section) };
    (@read $document:ident, $section:ident, $read:expr) => { $read($document, $section) };
    (@schema $name:ident, $type:ty) => { sluicebox_core::config::schema::of::<$type>() };
    (@schema $name:ident, $type:ty, $read:expr) => { components::of_components(stringify!($name)) };
}

sections! {
    /// `[scenario]`: changes of the stream over time.
    #[serde(default)]
    scenario: Scenario,
    /// `[input]`: scale of the network's input.
    #[serde(default)]
    input: standardise::Settings,
    /// `[batch]`: batch sizes.
    #[serde(default)]
    batch: Batch,
    /// `[memory]`: replay buffer of labelled samples.
    #[serde(default)]
    memory: Memory,
    /// `[answer]`: prior correction.
    #[serde(default)]
    answer: Answer,
    /// `[views]`: augmentations.
    #[serde(default)]
    views: Views = Views::read,
    /// `[model]`: network.
    model: Spec = model::resolve,
    /// `[method]`: semi-supervised method.
    method: Spec = |document: &mut _, section| METHODS.resolve(document, section, Some("fixmatch")),
    /// `[teacher]`: EMA and lag of the teacher.
    #[serde(default)]
    teacher: Teacher,
    /// `[filter]`: confidence gate and treatment of rejected samples.
    #[serde(default)]
    filter: Filter,
    /// `[optimiser]`: optimiser of the student.
    optimiser: Spec = |document: &mut _, section| OPTIMISERS.resolve(document, section, Some("sgd")),
    /// `[schedule]`: learning rate over the steps.
    #[serde(default)]
    schedule: Schedule,
    /// `[loss]`: weights of the classes in the labelled loss.
    #[serde(default)]
    loss: class_weights::Settings,
    /// `[regularise]`: losses on the student besides the method's.
    #[serde(default)]
    regularise: regularise::Settings,
    /// `[epoch]`: length of an epoch, the unit of reports.
    #[serde(default)]
    epoch: Epoch,
    /// `[stop]`: end of the job.
    #[serde(default)]
    stop: Stop,
    /// `[checkpoint]`: interval and number of checkpoints.
    #[serde(default)]
    checkpoint: Checkpoint,
    /// `[report]`: evaluation and reports.
    #[serde(default)]
    report: Report,
    /// `[drift]`: drift detector and reaction to its alarms.
    #[serde(default)]
    drift: Drift,
    /// `[history]`: retention of reports.
    #[serde(default)]
    history: History,
    /// `[flow]`: steps in flight.
    #[serde(default)]
    flow: Flow,
    /// `[labels]`: late and wrong labels.
    #[serde(default)]
    labels: Labels,
    /// `[ledger]`: retention of pseudo-labels and labels.
    #[serde(default)]
    ledger: Ledger,
    /// `[log]`: write-ahead log of samples that cannot be read again from their source.
    #[serde(default)]
    log: LogSettings,
    /// `[server]`: HTTP for samples, labels and predictions.
    #[serde(default)]
    server: Server,
}

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
        let known = ["name", "seed", "workers", "processes", "device", "threads", "precision", "sink"];
        for key in root.keys() {
            if !SECTIONS.contains(&key.as_str()) && !known.contains(&key.as_str()) {
                let all = [SECTIONS, known.as_slice()].concat();
                let reason = match elsewhere(&key).as_slice() {
                    [] => unknown("key", &key, &all),
                    places => format!("unknown key `{key}`; did you mean `{}`?", places.join("` or `")),
                };
                document.fault(root, &key, reason);
                root.remove(&key);
            }
        }
        // All sections are read before any is used, so that all faults are reported.
        let mut whole = root.clone();
        let sources = streams::read(document, root);
        let sections = Sections::read(document, root);
        let sinks = document.sections(root, "sink").unwrap_or_default();
        let sinks: Vec<Option<Spec>> =
            sinks.into_iter().map(|sink| SINKS.resolve(document, sink, None)).collect();
        if let (Some(schedule), Some(stop)) = (&sections.schedule, &sections.stop)
            && schedule.kind.needs_end()
            && (stop.epochs, stop.samples, schedule.steps) == (0, 0, None)
        {
            let kind = schedule.kind.name();
            let reason = format!(
                "\"{kind}\" needs an end: set stop.epochs or stop.samples (cosine: or schedule.steps), or use inverse-sqrt"
            );
            let section = document.section(&mut whole, "schedule");
            document.fault(&section, "kind", reason);
        }
        if let (Some(input), Some(model)) = (&sections.input, &sections.model)
            && input.standardise == Some(true)
            && model.options.contains_key("normalise")
        {
            let reason =
                "the network normalises its input already, by model.normalise: leave one of the two out";
            let section = document.section(&mut whole, "input");
            document.fault(&section, "standardise", reason);
        }
        if let (Some(log), Some(sources)) = (&sections.log, &sources)
            && let Some(reason) = log_room::fault(log, sources)
        {
            let section = document.section(&mut whole, "log");
            document.fault(&section, "max_bytes", reason);
        }
        if let (Some(views), Some(sources)) = (&sections.views, &sources)
            && let Some((at, reason)) = pixels::fault(views, sources)
        {
            let section = document.one_or_more(&mut whole, "source").swap_remove(at);
            document.fault(&section, "scale", reason);
        }
        for (place, key, is_on) in [
            ("labels", "correct", sections.labels.as_ref().is_some_and(|labels| labels.correct)),
            ("regularise", "refine", sections.regularise.as_ref().is_some_and(|terms| terms.refine > 0.0)),
        ] {
            if is_on && sections.batch.as_ref().is_some_and(|batch| batch.updates > 1) {
                let reason = "the teacher scores the labelled samples of a step's first update only: set batch.updates = 1";
                let section = document.section(&mut whole, place);
                document.fault(&section, key, reason);
            }
        }
        if let (Some(terms), Some(method)) = (&sections.regularise, &sections.method)
            && let Some((key, reason)) = suits::unfit_term(method, terms)
        {
            let section = document.section(&mut whole, "regularise");
            document.fault(&section, key, reason);
        }
        if let (Some(terms), Some(drift), Some(scenario)) =
            (&sections.regularise, &sections.drift, &sections.scenario)
            && let Some(reason) =
                terms.anchor.and_then(|anchor| suits::without_anchor(anchor.at, drift, scenario))
        {
            let section = document.section(&mut whole, "regularise");
            document.fault(&section, "anchor", reason);
        }
        if let (Some(method), Some(model), Some(sources)) = (&sections.method, &sections.model, &sources)
            && let Some(reason) = suits::fault(method, model, sources)
        {
            let section = document.section(&mut whole, "method");
            document.fault(&section, "kind", reason);
        }
        if let (Some(epoch), Some(stop)) = (&sections.epoch, &sections.stop)
            && epoch.seconds.is_some()
            && stop.epochs > 0
        {
            let reason = "with epoch.seconds an epoch has no fixed number of steps: use stop.samples";
            let section = document.section(&mut whole, "stop");
            document.fault(&section, "epochs", reason);
        }
        let mut top: Top = document.read(root.clone())?;
        let workers = top.workers(&sections.model.as_ref()?.kind, sections.batch.as_ref()?);
        for (key, reason) in sections.batch.iter().flat_map(|batch| batch.too_small_for(workers)) {
            let section = document.section(&mut whole, "batch");
            document.fault(&section, key, reason);
        }
        if top.name.is_empty() {
            top.name = stem.to_string();
        }
        sections.job(top, workers, sources?, sinks.into_iter().collect::<Option<_>>()?)
    }

    /// Returns the job as TOML with every default filled in.
    pub fn resolved(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// Number of steps after which the job ends, if it ends.
    pub fn stop_step(&self) -> Option<u64> {
        (self.stop.epochs > 0).then(|| self.stop.epochs.saturating_mul(self.epoch.steps))
    }

    /// Number of steps after which the job ends, as the schedule counts on it: `stop.samples` ends it after whole
    /// batches.
    pub fn end_step(&self) -> Option<u64> {
        let by_samples =
            (self.stop.samples > 0).then(|| self.stop.samples.div_ceil(self.batch.unlabelled as u64));
        [self.stop_step(), by_samples].into_iter().flatten().min()
    }

    /// Returns the kinds of its sources, in their order.
    pub fn source_kinds(&self) -> Vec<String> {
        self.sources.iter().map(|stream| stream.spec.kind.clone()).collect()
    }

    /// Returns the identity of its write-ahead log: format of the samples, order of the sources and seed.
    pub fn log_identity(&self, format: &Format) -> String {
        format!(
            "{} {} in classes {} from {} with seed {}",
            format.shape,
            format.dtype.name(),
            format.classes.join(", "),
            self.source_kinds().join(", "),
            self.seed
        )
    }
}

/// Returns the keys of this name in the sections of a usual job, with their sections.
fn elsewhere(key: &str) -> Vec<String> {
    let usual = "[source]\nkind = \"digits\"\n".to_string();
    let usual =
        Job::parse("usual", "usual", usual, &[]).ok().and_then(|job| toml::Table::try_from(&job).ok());
    let key = canonical(key);
    let has = |(_, section): &(&String, &toml::Value)| section.get(&*key).is_some();
    let found = usual.iter().flatten().filter(has).map(|(section, _)| format!("{section}.{key}"));
    found.take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_its_section_is_found_in_it() {
        let told = |set: &str| {
            let text = "[source]\nkind = \"digits\"\n".to_string();
            Job::parse("job.toml", "job", text, &[set.to_string()]).unwrap_err().to_string()
        };
        assert!(
            told("learning_rate=0.1")
                .ends_with("unknown key `learning_rate`; did you mean `optimiser.learning_rate`?")
        );
        assert!(told("labeled=3").contains("did you mean `batch.labelled`"), "{}", told("labeled=3"));
        assert!(told("sed=3").contains("did you mean `seed`?"));
        assert!(told("method=fixmatch").contains("did you mean method.kind = \"fixmatch\"?"));
        assert!(
            told("epoch.steps=-4").ends_with("expected a whole number from 0"),
            "{}",
            told("epoch.steps=-4")
        );
        assert!(told("device=tpu").contains("unknown device"));
    }

    #[test]
    fn a_job_saved_before_a_section_existed_is_read() {
        let job = Job::parse("job.toml", "job", "[source]\nkind = \"digits\"\n".into(), &[]).unwrap();
        let saved = serde_json::to_value(&job).unwrap();
        let components = ["source", "model", "method", "optimiser"]; // every job has had these
        for section in SECTIONS.iter().filter(|section| !components.contains(section)) {
            let mut earlier = saved.clone();
            assert!(earlier.as_object_mut().unwrap().remove(*section).is_some(), "{section}");
            assert_eq!(serde_json::from_value::<Job>(earlier).unwrap(), job, "{section}");
        }
    }
}
