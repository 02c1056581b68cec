//! `compare`: methods beside each other at matched samples, matched compute and matched time.
//!
//! Every combination of the varied values runs with every seed, to the job's own end: matched
//! samples. Then all but the one that made most passes run again, longer, until they have made as
//! many: matched compute (see [`matching`]). What each had reached when the fastest run was over
//! is matched time. Finished runs are recorded, interrupted ones go on from their checkpoints.

pub mod folder;
pub mod matching;
pub mod outcome;
pub mod plan;
pub mod runs;
pub mod spread;
pub mod table;
pub mod variants;

use crate::job::Job;
use outcome::{Measure, Outcome};
pub use plan::{Plan, plan};
use serde::Serialize;
use spread::Spread;
use std::path::PathBuf;

/// How far variants are matched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Equal {
    /// Each runs to the job's own end.
    Samples,
    /// And again, longer, until it has made as many passes as any.
    #[default]
    Passes,
}

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Request {
    /// The job file.
    pub job: PathBuf,
    /// `KEY=VALUE`, laid over it.
    pub set: Vec<String>,
    /// `KEY=A,B,…`, laid over that.
    pub vary: Vec<String>,
    /// A number of seeds or a list of them.
    pub seeds: String,
    /// How far they are matched.
    pub equal: Equal,
    /// What says how good a run is. None: held-out accuracy where there is such.
    pub measure: Option<Measure>,
    /// The folder. None: `compare-NAME`.
    pub out: Option<PathBuf>,
    /// Where `compare.json` is written as well.
    pub json: Option<PathBuf>,
}

/// A comparison, as far as it has got: what `compare.json` holds.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Version of Sluicebox.
    pub sluicebox: String,
    /// Processor, cores and memory.
    pub machine: String,
    /// The varied keys.
    pub keys: Vec<String>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// What says how good a run is.
    pub measure: Measure,
    /// At what they are compared.
    pub equal: Matched,
    /// What each variant reached.
    pub rows: Vec<Row>,
    /// Every run.
    pub runs: Vec<Run>,
    /// The job without variations.
    pub job: Job,
}

/// At what variants are compared.
#[derive(Debug, Default, Serialize)]
pub struct Matched {
    /// Samples of every run that went to its job's own end; none where these differ.
    pub samples: Option<u64>,
    /// Passes: the mean of the variant that makes most of them.
    pub passes: Option<f64>,
    /// That variant.
    pub passes_of: Option<String>,
    /// Nobody wanted to know at equal passes.
    pub skipped: bool,
    /// Seconds of the fastest run to its job's own end.
    pub seconds: Option<f64>,
}

/// What a variant reached.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub variant: String,
    /// A value for each varied key.
    pub values: Vec<String>,
    /// Quality at the job's own end.
    pub quality_at_samples: Option<Spread>,
    /// Passes until then.
    pub passes: Option<Spread>,
    /// Quality at equal passes.
    pub quality_at_passes: Option<Spread>,
    /// Passes that were really made until then: how many are accepted changes as a job goes on.
    pub passes_made: Option<Spread>,
    /// Quality at equal seconds.
    pub quality_at_seconds: Option<Spread>,
    /// Precision of pseudo-labels at the job's own end.
    pub pseudo_label_precision: Option<Spread>,
    /// Seconds to the job's own end.
    pub seconds: Option<Spread>,
    /// Samples a second until then.
    pub samples_per_s: Option<Spread>,
}

impl Row {
    /// The numbers, in the order of the table's columns.
    fn spreads(&self) -> [Option<Spread>; 8] {
        [
            self.quality_at_samples,
            self.passes,
            self.quality_at_passes,
            self.passes_made,
            self.quality_at_seconds,
            self.pseudo_label_precision,
            self.seconds,
            self.samples_per_s,
        ]
    }
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// The variant's name.
    pub variant: String,
    /// The seed.
    pub seed: u64,
    /// It ran longer, to make as many passes as others.
    pub stretched: bool,
    /// Its state folder.
    pub state: PathBuf,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// Its numbers, if it is done.
    pub outcome: Option<Outcome>,
    #[serde(skip)]
    job: Job,
}

impl Run {
    fn name(&self) -> String {
        let end = match (self.stretched, self.job.stop.epochs) {
            (false, _) => String::new(),
            (true, 0) => format!(", {} samples", self.job.stop.samples),
            (true, epochs) => format!(", {epochs} epochs"),
        };
        format!("{}, seed {}{end}", self.variant, self.seed)
    }
}

impl Comparison {
    /// Outcomes of a variant's runs.
    fn of<'c>(&'c self, variant: &'c str, stretched: bool) -> impl Iterator<Item = &'c Outcome> {
        let mine = move |run: &&Run| run.variant == variant && run.stretched == stretched;
        self.runs.iter().filter(mine).filter_map(|run| run.outcome.as_ref())
    }

    /// Folds the runs into rows, one for each variant and its values.
    fn fill(&mut self, variants: Vec<(String, Vec<String>)>) {
        let own = || self.runs.iter().filter(|run| !run.stretched).filter_map(|run| run.outcome.as_ref());
        let samples = own().next().map(|first| first.samples);
        let samples = samples.filter(|samples| own().all(|outcome| outcome.samples == *samples));
        let seconds = own().map(|outcome| outcome.seconds).min_by(f64::total_cmp);
        (self.equal.samples, self.equal.seconds) = (samples, seconds);
        self.rows = variants.into_iter().map(|(variant, values)| self.row(variant, values)).collect();
    }

    fn row(&self, variant: String, values: Vec<String>) -> Row {
        let own: Vec<&Outcome> = self.of(&variant, false).collect();
        let again = self.runs.iter().any(|run| run.variant == variant && run.stretched);
        let longer: Vec<&Outcome> = match (&self.equal.passes_of, again) {
            (None, _) => Vec::new(),
            (_, true) => self.of(&variant, true).collect(),
            // It makes as many by itself.
            (_, false) => own.iter().copied().filter(|outcome| outcome.passes > 0).collect(),
        };
        let spread = |runs: &[&Outcome], of: &dyn Fn(&Outcome) -> Option<f64>| {
            Spread::of(runs.iter().map(|outcome| of(outcome)))
        };
        let quality = |outcome: &Outcome| outcome.quality(self.measure);
        let passes = |outcome: &Outcome| Some(outcome.passes as f64);
        let soon = |outcome: &Outcome| outcome.quality_at(self.equal.seconds?, self.measure);
        Row {
            quality_at_samples: spread(&own, &quality),
            passes: spread(&own, &passes),
            quality_at_passes: spread(&longer, &quality),
            passes_made: spread(&longer, &passes),
            quality_at_seconds: spread(&own, &soon),
            pseudo_label_precision: spread(&own, &|outcome| outcome.pseudo_label_precision),
            seconds: spread(&own, &|outcome| Some(outcome.seconds)),
            samples_per_s: spread(&own, &Outcome::samples_per_s),
            variant,
            values,
        }
    }

    /// Runs that failed.
    pub fn failed(&self) -> usize {
        self.runs.iter().filter(|run| run.failure.is_some()).count()
    }
}
