//! From a job to a running dataflow and its summary.

mod adaptation;
mod changes;
pub mod evaluate;
pub mod export;
mod log;
mod open;
mod options;
mod outputs;
pub mod overdue;
mod parts;
mod stages;
mod summary;
pub mod workers;

use crate::cluster::{Crew, Fate};
use crate::engine::checkpoint::Store;
use crate::engine::flow;
use crate::engine::metrics::{Reporter, State, Summary};
use crate::job::Job;
use crate::serve::endpoints::Endpoints;
use open::Opened;
pub use open::sources;
pub use options::Options;
use overdue::Watch;
pub use parts::Parts;
use sluicebox_core::controls::Controls;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::health::Health;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tch::Device;

/// Runs a job until it ends or `stop` is raised.
pub fn run(job: &Job, options: &Options, stop: Arc<AtomicBool>) -> Result<Summary> {
    run_with(Parts::default(), job, options, stop)
}

/// Runs a job with components of the caller: `examples/embed.rs` shows how.
pub fn run_with(parts: Parts, job: &Job, options: &Options, stop: Arc<AtomicBool>) -> Result<Summary> {
    let began = Instant::now();
    let controls = Controls::stopped_by(stop);
    let watch =
        |patience| Watch::start(controls.clone(), patience, job.source_kinds(), options.state.clone());
    let _watch = options.patience.map(watch).transpose()?;
    let prepared = controls.outside("starting", || prepare(parts, job, options, controls.clone()))?;
    let Prepared { job, device, stages, reporter, store, endpoints, health, crew } = prepared;
    let before = reporter.borrow().total().samples;
    let ran = flow::run(stages).and_then(|()| store.borrow().check());
    if let Err(error) = &ran {
        health.fail(error.to_string()); // whoever asks while the job ends is told
        reporter.borrow().failed(&error.to_string());
    }
    if let Some(crew) = crew {
        crew.end(&ran.as_ref().map_or_else(Fate::of, |()| Fate::Ended));
    }
    reporter.borrow().end();
    ran?;
    drop(endpoints);
    Ok(summary::of(job, device, &reporter.borrow(), &store.borrow(), before, began.elapsed()))
}

/// A job's stages, ready to run, and what the summary reads at the end.
pub struct Prepared {
    /// The job, with its precision resolved.
    pub job: Job,
    /// Device it computes on.
    pub device: Device,
    /// The stages for [`flow::run`].
    pub stages: flow::Stages,
    /// The reporter, with the counts.
    pub reporter: Rc<RefCell<Reporter>>,
    /// The checkpoint store.
    pub store: Rc<RefCell<Store>>,
    /// Write-ahead log and endpoints, if the job has any. Drop it after the flow has ended.
    pub endpoints: Option<Endpoints>,
    /// How the job is, for those who watch it.
    pub health: Health,
    /// The other processes, if there are any. Tell them how the job has ended.
    pub crew: Option<Crew>,
}

/// Opens what a job needs, builds every stage and restores it, in the order of the dataflow except for the
/// source: collate comes first, since samples that await a label must be known before new ones come in.
pub fn prepare(
    parts: Parts,
    job: &Job,
    options: &Options,
    controls: impl Into<Controls>,
) -> Result<Prepared> {
    let own_method = parts.method.is_some();
    let (mut opened, sources) = open::open(parts, job, options)?;
    let held_out = sources.held_out(opened.job.report.held_out)?;
    refuse_patience_in_vain(&opened.job, held_out.is_some())?;
    let mut controls = controls.into();
    if let Some(state) = &options.state {
        controls.keep_pause_in(state);
    }
    // A part that fails in the background ends the job.
    controls.health = opened.ingest().map(|live| live.ingest.health.clone()).unwrap_or_default();
    controls.backlog = opened.ingest().map(|live| live.ingest.backlog.clone()).unwrap_or_default();
    let mut adaptation = stages::adaptation(&opened)?;
    let (correction, scale) = (adaptation.present(), adaptation.scale(opened.compute.device));

    let mut batcher = stages::collate(&opened, adaptation.standardise, adaptation.experts)?;
    let feed = stages::source(&opened, sources, controls.clone())?;
    let learning = opened.learning();
    let weak = stages::weak_views(&learning)?;
    let teacher = stages::teacher(&learning);
    let filter = stages::filter(&opened, adaptation.correction, adaptation.prototypes)?;
    let strong = stages::strong_views(&learning)?;
    let mut student = stages::student(&learning)?;
    let (workers, crew) = workers::start(&opened, own_method, &mut student, options, &controls)?;
    let ledger = stages::ledger(&opened)?;

    let state = opened.sections().map_or_else(|| Ok(State::default()), State::load_from)?;
    let health = controls.health.clone();
    say_if_paused(&opened, &controls);
    let (outputs, status) = outputs::gather(&opened, options, &state, controls.clone())?;
    batcher.shows_thumbnails = outputs.gallery.is_some();
    if let Some(status) = status {
        outputs::serve(&mut opened, &mut student, correction, scale, status)?;
    }
    let (window, lag) = (opened.job.flow.window, opened.job.teacher.lag);
    let decay_replay_at = state.decay_replay_at.clone();
    let mut reporter = stages::reporter(&opened, held_out, outputs, state)?;
    reporter.efforts = workers.efforts();
    let reporter = Rc::new(RefCell::new(reporter));
    let folder = opened.folder.take();
    let store = Rc::new(RefCell::new(stages::store(&opened, folder, controls)?));
    let stages = flow::Stages {
        window,
        lag,
        in_flight: student.in_flight(),
        decay_replay_at,
        feed,
        batcher,
        weak,
        teacher,
        filter,
        strong,
        student,
        workers,
        ledger,
        reporter: reporter.clone(),
        store: store.clone(),
    };
    let device = opened.compute.device;
    let (job, endpoints) = (opened.job, opened.endpoints);
    Ok(Prepared { job, device, stages, reporter, store, endpoints, health, crew })
}

/// Refuses to wait for a better evaluation, or to keep the best one, where there is none.
fn refuse_patience_in_vain(job: &Job, holds_out: bool) -> Result<()> {
    let keys = [("checkpoint.best", job.checkpoint.best), ("stop.patience", job.stop.patience > 0)];
    let reason = match (holds_out, job.report.evaluate_epochs) {
        (false, _) => "the source has no held-out samples",
        (true, 0) => "report.evaluate_epochs is 0",
        _ => return Ok(()),
    };
    match keys.into_iter().find(|(_, is_set)| *is_set) {
        Some((key, _)) => Err(Error::Request(format!("{key} needs an evaluation, but {reason}"))),
        None => Ok(()),
    }
}

/// Says at the start that the job is paused, and how that ends.
fn say_if_paused(opened: &Opened, controls: &Controls) {
    if !controls.is_paused() {
        return;
    }
    let server = if opened.listens_at().is_some() { "" } else { "start the job with --listen; then " };
    tracing::warn!(
        "the job is still paused, as it was when it ended: {server}POST /control/resume lets it go on"
    );
}
