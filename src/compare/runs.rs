//! Executes the runs, one after another, and records their results.

use crate::compare::comparison::Comparison;
use crate::compare::matching::{self, Pace};
use crate::compare::outcome::{Answered, Continual, Measure, Moment, Outcome};
use crate::compare::plan::{Plan, run_of};
use crate::compare::request::Equal;
use crate::compare::variants::Variant;
use crate::compare::{folder, table};
use crate::job::Job;
use crate::run::{self, Options};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::tell;
use sluicebox_observe::history::History;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

impl Plan {
    /// Executes every run that is not done yet, until `stop` is set. Reports each on stderr.
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

    /// Executes the runs from index `first` on, one after another.
    fn make(&mut self, first: usize, stop: &Arc<AtomicBool>) -> Result<()> {
        let measures = (self.comparison.measure, self.comparison.beside);
        let count = self.comparison.runs.len();
        for at in first..count {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let run = &mut self.comparison.runs[at];
            tell(&format!("run {} of {}: {}", at + 1 - first, count - first, run.name()));
            match execute(&run.job, &run.state, stop) {
                Ok(outcome) => {
                    outcome.iter().for_each(|outcome| tell(&format!("  {}", summary(outcome, measures))));
                    run.outcome = outcome;
                }
                Err(error) => {
                    tell(&format!("  {} failed: {error}", run.name()));
                    run.failure = Some(error.to_string());
                }
            }
            self.write()?;
        }
        Ok(())
    }

    /// Plans the longer runs of all variants but the one with the most passes.
    fn match_passes(&mut self) {
        let pace = |variant: &Variant| Pace::of(self.comparison.of(&variant.label(), false));
        let paces: Vec<Option<Pace>> = self.variants.iter().map(pace).collect();
        let Some((most, target)) = matching::measure(&paces) else { return };
        self.comparison.equal.passes = Some(target);
        self.comparison.equal.passes_of = Some(self.variants[most].label());
        for seed in self.comparison.seeds.clone() {
            for (variant, pace) in self.variants.iter().zip(&paces) {
                let factor = pace.and_then(|pace| pace.factor(target));
                let job = factor.map(|factor| matching::stretched(&variant.job, factor));
                if let Some(job) = job.filter(|job| job.stop != variant.job.stop) {
                    let run = run_of(&self.folder, &variant.label(), &Job { seed, ..job }, true);
                    self.comparison.runs.push(run);
                }
            }
        }
    }

    /// Updates the table and writes it.
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

/// Runs a job to its end, or returns the result of an earlier attempt. None where it was stopped.
fn execute(job: &Job, state: &Path, stop: &Arc<AtomicBool>) -> Result<Option<Outcome>> {
    if let Some(outcome) = folder::outcome(state, job)? {
        return Ok(Some(outcome));
    }
    // After a kill, the history may lack epochs that the checkpoint has: then the run starts over.
    for fresh in [false, true] {
        let (state_folder, patience) = (Some(state.to_path_buf()), Some(run::overdue::PATIENCE));
        let options = Options { state: state_folder, fresh, patience, ..Options::default() };
        let summary = run::run(job, &options, stop.clone())?;
        let ended = job.stop_step().is_some_and(|last| summary.steps >= last)
            || (job.stop.samples > 0 && summary.samples_seen >= job.stop.samples)
            || summary.stopped_early;
        if stop.load(Ordering::Relaxed) && !ended {
            return Ok(None);
        }
        let curve = curve(state)?;
        if let Some(outcome) = Outcome::new(job, summary, curve) {
            folder::keep(state, job, &outcome)?;
            return Ok(Some(outcome));
        }
    }
    Err(Error::file(state, "its history does not reach the job's end"))
}

/// Returns the summary line of a finished run.
fn summary(outcome: &Outcome, (measure, beside): (Measure, Measure)) -> String {
    let percent =
        |measure| outcome.quality(measure).map_or("unknown".into(), |share| format!("{:.1}%", 100.0 * share));
    let Outcome { samples, passes, seconds, .. } = outcome;
    format!(
        "{} {}, {} {}, {samples} samples, {passes} passes, {seconds:.1} s",
        measure.about(),
        percent(measure),
        beside.of_what(),
        percent(beside)
    )
}

/// Most moments kept per run.
const MOMENTS: usize = 2000;

/// Returns a run's curve, from its history. Seconds are computed from each epoch's own rate, so an
/// interrupted epoch counts as a whole one.
fn curve(state: &Path) -> Result<Vec<Moment>> {
    let history = History::read(state)?;
    let Some((first, last)) = history.span()? else { return Ok(Vec::new()) };
    let mut moments: Vec<Moment> = Vec::new();
    for point in history.series(first..=last, MOMENTS)? {
        let (before, seconds) = moments.last().map_or((0, 0.0), |last| (last.samples, last.seconds));
        let count = |meter: Option<f64>| meter.unwrap_or_default() as u64;
        let samples = count(point.mean.samples);
        let rate = point.mean.samples_per_s.filter(|rate| *rate > 0.0);
        moments.push(Moment {
            epoch: point.last_epoch,
            samples,
            passes: count(point.mean.student_samples),
            seconds: seconds + rate.map_or(0.0, |rate| samples.saturating_sub(before) as f64 / rate),
            answered: Answered {
                accuracy: point.mean.accuracy,
                network_accuracy: point.mean.network_accuracy,
                balanced_accuracy: point.mean.balanced_accuracy,
                worst_class_recall: point.mean.worst_class_recall,
                prequential_accuracy: point.mean.prequential_accuracy_total,
                network_prequential_accuracy: point.mean.network_prequential_accuracy_total,
            },
            continual: Continual {
                near_future_accuracy: point.mean.near_future_accuracy,
                average_anytime_accuracy: point.mean.average_anytime_accuracy,
                forgetting: point.mean.forgetting,
                backward_transfer: point.mean.backward_transfer,
                min_accuracy: point.mean.min_accuracy,
                worst_case_accuracy: point.mean.worst_case_accuracy,
            },
        });
    }
    Ok(moments)
}
