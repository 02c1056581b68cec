//! `compare`: methods side by side at matched samples, matched compute and matched time.
//!
//! Every combination of the varied values runs with every seed, to the job's own end: matched
//! samples. Then all but the one with the most passes run again, longer, until they have made as
//! many: matched compute (see [`matching`]). Matched time is the quality that each had reached when
//! the fastest run ended. Finished runs are recorded; interrupted ones resume from their
//! checkpoints.

pub mod folder;
pub mod matching;
pub mod outcome;
pub mod plan;
pub mod runs;
mod statistics;
pub mod table;
pub mod variants;

use crate::job::Job;
use outcome::{Measure, Outcome};
pub use plan::{Plan, plan};
use serde::Serialize;
use statistics::Statistics;
use std::path::PathBuf;

/// Quantities at which variants are matched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Equal {
    /// Run each variant to the job's own end.
    Samples,
    /// Also run again, longer, to as many passes as the variant with the most.
    #[default]
    Passes,
}

/// Arguments of a comparison.
#[derive(Debug, Clone)]
pub struct Request {
    /// The job file.
    pub job: PathBuf,
    /// `KEY=VALUE`, overriding the job file.
    pub set: Vec<String>,
    /// `KEY=A,B,…`: varied keys and their values, overriding `set`.
    pub vary: Vec<String>,
    /// Number of seeds, or a list of them.
    pub seeds: String,
    /// Quantities at which variants are matched.
    pub equal: Equal,
    /// Measure of quality; none: held-out accuracy where there is one, otherwise prequential accuracy.
    pub measure: Option<Measure>,
    /// Output folder; none: `compare-NAME`.
    pub out: Option<PathBuf>,
    /// Additional file for the content of `compare.json`.
    pub json: Option<PathBuf>,
}

/// A comparison so far: the content of `compare.json`.
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
    /// Measure of quality.
    pub measure: Measure,
    /// Quantities at which variants are compared.
    pub equal: Matched,
    /// Results of each variant.
    pub rows: Vec<Row>,
    /// Every run.
    pub runs: Vec<Run>,
    /// The job without variations.
    pub job: Job,
}

/// Quantities at which variants are compared.
#[derive(Debug, Default, Serialize)]
pub struct Matched {
    /// Samples of every run to its job's own end; none where these differ.
    pub samples: Option<u64>,
    /// Passes of the variant with the most, mean over its seeds.
    pub passes: Option<f64>,
    /// Name of that variant.
    pub passes_of: Option<String>,
    /// Equal passes were not requested.
    pub skipped: bool,
    /// Seconds of the fastest run to its job's own end.
    pub seconds: Option<f64>,
}

/// Results of a variant.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The variant's name.
    pub variant: String,
    /// One value per varied key.
    pub values: Vec<String>,
    /// Quality at the job's own end.
    pub quality_at_samples: Option<Statistics>,
    /// Passes up to the job's own end.
    pub passes: Option<Statistics>,
    /// Quality at equal passes.
    pub quality_at_passes: Option<Statistics>,
    /// Passes made at that point: they may miss the target, since the accepted fraction changes as
    /// a job goes on.
    pub passes_made: Option<Statistics>,
    /// Quality at equal seconds.
    pub quality_at_seconds: Option<Statistics>,
    /// Precision of pseudo-labels at the job's own end.
    pub pseudo_label_precision: Option<Statistics>,
    /// Seconds to the job's own end.
    pub seconds: Option<Statistics>,
    /// Samples per second up to the job's own end.
    pub samples_per_s: Option<Statistics>,
}

impl Row {
    /// Returns the values, in the order of the table's columns.
    fn spreads(&self) -> [Option<Statistics>; 8] {
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
    /// The run was longer, to match the passes of another variant.
    pub stretched: bool,
    /// Its state folder.
    pub state: PathBuf,
    /// Reason of failure, if the run failed.
    pub failure: Option<String>,
    /// Results, if the run is done.
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
    /// Returns the results of a variant's runs.
    fn of<'c>(&'c self, variant: &'c str, stretched: bool) -> impl Iterator<Item = &'c Outcome> {
        let mine = move |run: &&Run| run.variant == variant && run.stretched == stretched;
        self.runs.iter().filter(mine).filter_map(|run| run.outcome.as_ref())
    }

    /// Computes the rows from the runs, one per variant.
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
            // Its own runs already make as many passes.
            (_, false) => own.iter().copied().filter(|outcome| outcome.passes > 0).collect(),
        };
        let spread = |runs: &[&Outcome], of: &dyn Fn(&Outcome) -> Option<f64>| {
            Statistics::of(runs.iter().map(|outcome| of(outcome)))
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

    /// Returns the number of failed runs.
    pub fn failed(&self) -> usize {
        self.runs.iter().filter(|run| run.failure.is_some()).count()
    }
}
