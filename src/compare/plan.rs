//! Checks before the first run: the request, every job, the sources, the folder.

use crate::compare::comparison::{Comparison, Matched};
use crate::compare::folder::{self, Folder};
use crate::compare::outcome::Measure;
use crate::compare::request::{Equal, Request};
use crate::compare::run::Run;
use crate::compare::variants::{self, Variant, Vary, note};
use crate::job::Job;
use crate::run;
use sluicebox_core::error::{Error, Fault, Result};
use sluicebox_core::system;
use sluicebox_stream::source::api::Context;
use std::path::PathBuf;

/// A comparison that is ready to run.
pub struct Plan {
    pub(super) folder: Folder,
    pub(super) variants: Vec<Variant>,
    pub(super) equal: Equal,
    pub(super) json: Option<PathBuf>,
    pub(super) comparison: Comparison,
}

/// Checks a request and reports all of its faults at once.
pub fn plan(request: &Request) -> Result<Plan> {
    let mut faults = Vec::new();
    let (varied, seeds) = arguments(request, &mut faults);
    let resolved = variants::resolve(&request.job, &request.set, &varied, &mut faults)?;
    let Some((job, mut variants)) = resolved else { return Err(Error::Job(faults)) };
    variants.iter_mut().for_each(|variant| detach(&mut variant.job));
    let (measure, beside) = measures(request.measure, &variants, &mut faults);
    let keys: Vec<String> = varied.into_iter().map(|vary| vary.key).collect();
    let path = request.out.clone().unwrap_or_else(|| format!("compare-{}", job.name).into());
    let folder = Folder::open(&path, &job, &keys).map_err(|error| note_error(&mut faults, error)).ok();
    let Some(mut folder) = folder else { return Err(Error::Job(faults)) };
    if faults.is_empty() {
        folder.settle(variants.iter_mut().map(|variant| &mut variant.job))?;
    }
    let runs = own_runs(&folder, &variants, &seeds, &mut faults);
    if !faults.is_empty() {
        folder.abandon();
        return Err(Error::Job(faults));
    }
    let comparison = Comparison {
        sluicebox: env!("CARGO_PKG_VERSION").into(),
        machine: system::describe(),
        keys,
        seeds,
        measure,
        beside,
        equal: Matched::default(),
        rows: Vec::new(),
        runs,
        job,
    };
    Ok(Plan { folder, variants, equal: request.equal, json: request.json.clone(), comparison })
}

/// Returns the varied keys and the seeds.
fn arguments(request: &Request, faults: &mut Vec<Fault>) -> (Vec<Vary>, Vec<u64>) {
    let mut varied: Vec<Vary> = Vec::new();
    for text in &request.vary {
        let place = format!("--vary {text}");
        let vary =
            Vary::parse(text).and_then(|vary| match varied.iter().any(|other| other.key == vary.key) {
                true => Err(format!("`{}` is varied twice", vary.key)),
                false => Ok(vary),
            });
        match vary {
            Ok(vary) => varied.push(vary),
            Err(reason) => note(faults, Fault { place, key: String::new(), reason }),
        }
    }
    let seeds = variants::seeds(&request.seeds).unwrap_or_else(|reason| {
        note(faults, Fault { place: "--seeds".into(), key: String::new(), reason });
        Vec::new()
    });
    if let Some(path) = &request.json {
        let open = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let cannot = |error| Error::file(path, format!("cannot be written: {error}"));
        open.map_err(cannot).map_or_else(|error| note_error(faults, error), drop);
    }
    (varied, seeds)
}

fn note_error(faults: &mut Vec<Fault>, error: Error) {
    match error {
        Error::Job(found) => found.into_iter().for_each(|fault| note(faults, fault)),
        Error::File { path, reason } => {
            let place = path.display().to_string();
            note(faults, Fault { place, key: String::new(), reason });
        }
        other => {
            note(faults, Fault { place: "compare".into(), key: String::new(), reason: other.to_string() })
        }
    }
}

/// Removes a job's sinks and listener, which only one job at a time can have.
fn detach(job: &mut Job) {
    job.sinks.clear();
    job.server.listen = None;
}

/// Returns the measure of quality and the one beside it. Opens the sources to see whether they can be read again and have
/// held-out samples.
fn measures(asked: Option<Measure>, variants: &[Variant], faults: &mut Vec<Fault>) -> (Measure, Measure) {
    let mut held_out = true;
    for (at, Variant { job, .. }) in variants.iter().enumerate() {
        held_out &= job.report.evaluate_epochs > 0;
        if variants[..at].iter().any(|before| before.job.sources == job.sources) {
            continue;
        }
        let context = Context { seed: job.seed, is_look: true, ..Context::default() };
        let found = run::sources(job, &context).and_then(|sources| {
            match sources.is_timed() || sources.acknowledges() {
                true => Err(Error::request(
                    "the job's samples arrive live, so no two runs would learn from the same ones; a \
                     comparison needs sources that can be read again, such as files",
                )),
                false => Ok(sources.held_out(job.report.held_out)?.is_some()),
            }
        });
        match found {
            Ok(found) => held_out &= found,
            Err(error) => note_error(faults, error),
        }
    }
    if let Some(asked) = asked.filter(|asked| asked.is_held_out() && !held_out && faults.is_empty()) {
        let (name, instead) = match asked {
            Measure::Accuracy => ("accuracy", "prequential_accuracy"),
            Measure::BalancedAccuracy => ("balanced_accuracy", "prequential_accuracy"),
            Measure::WorstClassRecall => ("worst_class_recall", "prequential_accuracy"),
            _ => ("network_accuracy", "network_prequential_accuracy"),
        };
        let reason = format!("the job has no held-out samples, or never evaluates; use {instead}");
        let place = format!("--measure {name}");
        note(faults, Fault { place, key: String::new(), reason });
    }
    let usual = if held_out { Measure::Accuracy } else { Measure::PrequentialAccuracy };
    let measure = asked.unwrap_or(usual);
    (measure, measure.other(held_out))
}

/// Returns the runs to each job's own end: every variant with the first seed, then with the next.
fn own_runs(folder: &Folder, variants: &[Variant], seeds: &[u64], faults: &mut Vec<Fault>) -> Vec<Run> {
    let mut runs = Vec::new();
    for seed in seeds {
        for variant in variants {
            let run = run_of(folder, &variant.label(), &Job { seed: *seed, ..variant.job.clone() }, false);
            if let Err(error) = folder::outcome(&run.state, &run.job) {
                note_error(faults, error);
            }
            runs.push(run);
        }
    }
    runs
}

/// Creates a run that is not made yet.
pub(super) fn run_of(folder: &Folder, variant: &str, job: &Job, stretched: bool) -> Run {
    Run {
        variant: variant.to_string(),
        seed: job.seed,
        stretched,
        state: folder.state(variant, job, stretched),
        failure: None,
        outcome: None,
        job: job.clone(),
    }
}
