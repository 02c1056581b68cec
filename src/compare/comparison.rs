//! A comparison so far: its runs, and the rows computed from them.

use crate::compare::outcome::{Measure, Outcome};
use crate::compare::row::Row;
use crate::compare::run::Run;
use crate::compare::statistics::Statistics;
use crate::job::Job;
use serde::Serialize;

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
    /// Measure shown beside it: of the network alone, where that of quality is of the answers.
    pub beside: Measure,
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

impl Comparison {
    /// Returns the results of a variant's runs.
    pub fn of<'c>(&'c self, variant: &'c str, stretched: bool) -> impl Iterator<Item = &'c Outcome> {
        let mine = move |run: &&Run| run.variant == variant && run.stretched == stretched;
        self.runs.iter().filter(mine).filter_map(|run| run.outcome.as_ref())
    }

    /// Computes the rows from the runs, one per variant.
    pub fn fill(&mut self, variants: Vec<(String, Vec<String>)>) {
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
            beside_at_samples: spread(&own, &|outcome| outcome.quality(self.beside)),
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
