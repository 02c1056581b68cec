//! The runs, one after another, and what each leaves.

use super::outcome::{Measure, Moment, Outcome};
use super::plan::{Plan, run_of};
use super::spread::Spread;
use super::variants::Variant;
use super::{Comparison, Equal, folder, matching, table};
use crate::error::{Error, Result};
use crate::job::Job;
use crate::metrics::Summary;
use crate::run::{self, Options};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

impl Plan {
    /// Makes every run that is not made yet, until `stop` is raised. Tells of each on stderr.
    pub fn carry_out(mut self, stop: &Arc<AtomicBool>) -> Result<Comparison> {
        let own = self.comparison.runs.len();
        self.make(0, stop)?;
        self.comparison.equal.skipped = self.equal == Equal::Samples;
        if self.equal == Equal::Passes && !stop.load(Ordering::Relaxed) {
            self.match_passes();
            self.make(own, stop)?;
        }
        self.write()?;
        Ok(self.comparison)
    }

    /// Makes the runs from `first` on, one after another.
    fn make(&mut self, first: usize, stop: &Arc<AtomicBool>) -> Result<()> {
        let measure = self.comparison.measure;
        let count = self.comparison.runs.len();
        for at in first..count {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let run = &mut self.comparison.runs[at];
            eprintln!("run {} of {}: {}", at + 1 - first, count - first, run.name());
            match execute(&run.job, &run.state, stop) {
                Ok(outcome) => {
                    outcome.iter().for_each(|outcome| eprintln!("  {}", told(outcome, measure)));
                    run.outcome = outcome;
                }
                Err(error) => {
                    eprintln!("  {} failed: {error}", run.name());
                    run.failure = Some(error.to_string());
                }
            }
            self.write()?;
        }
        Ok(())
    }

    /// Plans the longer runs of all variants but the one that makes most passes.
    fn match_passes(&mut self) {
        let passes = |variant: &Variant| {
            let label = variant.label();
            let own = self.comparison.of(&label, false);
            Some(Spread::of(own.map(|outcome| Some(outcome.passes as f64)))?.mean)
        };
        let passes: Vec<Option<f64>> = self.variants.iter().map(passes).collect();
        let Some(most) = matching::measure(&passes) else { return };
        let target = passes[most].unwrap_or_default();
        self.comparison.equal.passes = Some(target);
        self.comparison.equal.passes_of = Some(self.variants[most].label());
        for seed in self.comparison.seeds.clone() {
            for (variant, passes) in self.variants.iter().zip(&passes) {
                let job = passes.and_then(|passes| matching::stretched(&variant.job, passes, target));
                if let Some(job) = job.filter(|job| job.stop != variant.job.stop) {
                    let run = run_of(&self.folder, &variant.label(), &Job { seed, ..job }, true);
                    self.comparison.runs.push(run);
                }
            }
        }
    }

    /// Brings the table up to date and writes it down.
    fn write(&mut self) -> Result<()> {
        let labels = self.variants.iter().map(|variant| (variant.label(), variant.values.clone()));
        self.comparison.fill(labels.collect());
        folder::write(&self.folder.path.join("compare.json"), &self.comparison)?;
        folder::write_text(&self.folder.path.join("compare.md"), &table::markdown(&self.comparison))?;
        let Some(path) = &self.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(&self.comparison).map_err(Error::request)?;
        std::fs::write(path, format!("{text}\n")).map_err(|error| Error::file(path, error))
    }
}

/// Runs a job to its end, or takes what an earlier attempt has left. None where it was stopped.
fn execute(job: &Job, state: &Path, stop: &Arc<AtomicBool>) -> Result<Option<Outcome>> {
    if let Some(outcome) = folder::outcome(state, job)? {
        return Ok(Some(outcome));
    }
    // The history of an attempt that was killed may lack what its checkpoint has: then anew.
    for fresh in [false, true] {
        let options = Options { state: Some(state.to_path_buf()), fresh, ..Options::default() };
        let summary = run::run(job, &options, stop.clone())?;
        let ended = job.stop_step().is_some_and(|last| summary.steps >= last)
            || (job.stop.samples > 0 && summary.samples_seen >= job.stop.samples);
        if stop.load(Ordering::Relaxed) && !ended {
            return Ok(None);
        }
        let curve = curve(state, &summary)?;
        if let Some(outcome) = Outcome::new(job, summary, curve) {
            folder::keep(state, job, &outcome)?;
            return Ok(Some(outcome));
        }
    }
    Err(Error::file(state, "its history does not reach to the job's end"))
}

/// What is said of a run that is done.
fn told(outcome: &Outcome, measure: Measure) -> String {
    let quality = outcome.quality(measure).map_or("unknown".into(), |share| format!("{:.1}%", 100.0 * share));
    let Outcome { samples, passes, seconds, .. } = outcome;
    format!("{} {quality}, {samples} samples, {passes} passes, {seconds:.1} s", measure.about())
}

/// How a run got to its end.
fn curve(_state: &Path, summary: &Summary) -> Result<Vec<Moment>> {
    Ok(vec![Moment {
        epoch: summary.epochs,
        samples: summary.samples_seen,
        passes: summary.student_samples,
        seconds: summary.seconds,
        accuracy: summary.accuracy,
        prequential_accuracy: summary.prequential_accuracy,
    }])
}
