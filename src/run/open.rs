//! Opens what the stages are built from: device, state folder, sources, model and endpoints.

use crate::engine::checkpoint::{Saved, StateFolder, newest, return_to_best};
use crate::job::effective::{Effective, ingests, labels_come};
use crate::job::{Job, Stream, compatibility, pixels};
use crate::run::changes;
use crate::run::log;
use crate::run::options::Options;
use crate::run::parts::Parts;
use crate::serve::endpoints::{Endpoints, IngestPlan, LOG};
use sluicebox_core::controls::PAUSED;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::Randomness;
use sluicebox_core::sample::Format;
use sluicebox_core::state::{Section, Sections};
use sluicebox_learn::device;
use sluicebox_learn::device::{Compute, Precision};
use sluicebox_learn::method::METHODS;
use sluicebox_learn::method::api::Method;
use sluicebox_learn::model;
use sluicebox_learn::model::api::Model;
use sluicebox_observe::history;
use sluicebox_stream::decode::Form;
use sluicebox_stream::ingest::IngestContext;
use sluicebox_stream::microbatch::mix::Mix;
use sluicebox_stream::scenario;
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::Context;
use sluicebox_stream::wal::Wal;
use std::rc::Rc;

/// What the stages of a job are built from.
pub struct Opened {
    /// The job, with its precision resolved.
    pub job: Job,
    /// The settings that the job leaves open.
    pub effective: Effective,
    /// Device and precision.
    pub compute: Compute,
    /// Format of the samples.
    pub format: Format,
    /// How samples look in requests.
    pub form: Form,
    /// The method, shared by the stages.
    pub method: Rc<dyn Method>,
    /// The network.
    pub model: Rc<dyn Model>,
    /// The job's random draws.
    pub randomness: Randomness,
    /// State folder, if the job has one.
    pub folder: Option<StateFolder>,
    /// Checkpoint to resume from.
    pub saved: Option<Saved>,
    /// Write-ahead log and endpoints, if the job has any.
    pub endpoints: Option<Endpoints>,
}

/// What the stages are built from that every worker has.
pub struct Learning<'a> {
    /// The job, with its precision resolved.
    pub job: &'a Job,
    /// Format of the samples.
    pub format: &'a Format,
    /// The method.
    pub method: Rc<dyn Method>,
    /// The network.
    pub model: Rc<dyn Model>,
    /// The worker's random draws.
    pub randomness: Randomness,
    /// Device and precision.
    pub compute: Compute,
    /// State of a resumed job.
    pub sections: Option<&'a Sections>,
}

impl Opened {
    /// Returns what worker 0 learns with.
    pub fn learning(&self) -> Learning<'_> {
        Learning {
            job: &self.job,
            format: &self.format,
            method: self.method.clone(),
            model: self.model.clone(),
            randomness: self.randomness,
            compute: self.compute,
            sections: self.sections(),
        }
    }

    /// Returns the state of a resumed job.
    pub fn sections(&self) -> Option<&Sections> {
        self.saved.as_ref().map(|saved| &saved.sections)
    }

    /// Returns the ingest gate, if something comes in from outside.
    pub fn ingest(&self) -> Option<&IngestContext> {
        self.endpoints.as_ref()?.live.as_ref()
    }

    /// Returns the address of the job's server, if it has one.
    pub fn listens_at(&self) -> Option<&str> {
        self.endpoints.as_ref()?.listens_at(&self.job.server)
    }
}

/// Opens what a job needs, and finds the state that it resumes from.
pub fn open(parts: Parts, job: &Job, options: &Options) -> Result<(Opened, Mix)> {
    let mut job = job.clone();
    parts.replace_in(&mut job);
    let folder = options.state.as_deref().map(StateFolder::open).transpose()?;
    let saved = match &folder {
        Some(folder) if options.fresh => clear(folder).map(|()| None)?,
        Some(folder) if options.from_best => {
            refuse_best_with_log(folder)?;
            return_to_best(folder)?;
            newest(folder.path())?
        }
        Some(folder) => newest(folder.path())?,
        None => None,
    };
    let compute = resume(&mut job, saved.as_ref())?;
    let method = parts.method.map_or_else(|| method(&job).map(Rc::from), Ok)?;
    let wanted = method.views();
    let shows_strong = wanted.student.iter().chain(&wanted.labelled).any(|view| view.list() == "strong");
    let context = Context {
        seed: job.seed,
        state: options.state.clone(),
        bounded_view: pixels::bounded_view(&job.views, shows_strong),
        ..Context::default()
    };
    let sources = match parts.source {
        Some(source) => Mix::new(vec![(source, 1.0)])?,
        None => sources(&job, &context)?,
    };
    let (format, form) = (sources.format().clone(), sources.form());
    saved.as_ref().map_or(Ok(()), |saved| saved.suits(&format))?;
    let model: Rc<dyn Model> = model::build(&job.model, &format, method.views().heads)?.into();
    if sources.acknowledges() && options.state.is_none() {
        let reason = "this job acknowledges the samples sent to it, so it needs a state folder: --state DIR";
        return Err(Error::request(reason));
    }
    let ingests = ingests(&job, sources.is_timed(), options.state.is_some());
    job.epoch.misfit(ingests)?;
    let expected = log::expected(folder.as_ref(), saved.as_ref(), options)?;
    let identity = job.log_identity(&format);
    let plan = ingests.then(|| IngestPlan {
        log: &job.log,
        identity: &identity,
        sources: job.sources.len() as u16,
        expected,
        saved: saved.as_ref().and_then(|saved| saved.sections.get(Section::Ingest)),
    });
    let endpoints = (ingests || job.server.listen.is_some())
        .then(|| Endpoints::open(&job.server, &format, plan, options.state.as_deref(), options.token.clone()))
        .transpose()?;
    let gate = endpoints.as_ref().and_then(|endpoints| endpoints.live.as_ref());
    if let (Some(live), Some(range)) = (gate, context.pixel_range(&format)) {
        let _ = live.ingest.pixels.set(range); // set once: the gate is new
    }
    let effective = Effective::new(&job, wanted, labels_come(&job, ingests));
    let randomness = Randomness::new(job.seed, 0);
    let opened =
        Opened { job, effective, compute, format, form, method, model, randomness, folder, saved, endpoints };
    Ok((opened, sources))
}

/// Settles the job's number of workers and its precision, and refuses a job that cannot resume from `saved`.
fn resume(job: &mut Job, saved: Option<&Saved>) -> Result<Compute> {
    let then = saved.map(compatibility::job_of).transpose()?;
    if let (true, Some(then)) = (job.auto_workers, &then) {
        job.workers = then.workers; // `auto` might choose otherwise now
    }
    let device = device::open(&job.device, job.threads)?;
    if let (Precision::Auto, Some(then)) = (job.precision, &then) {
        job.precision = then.precision; // `auto` might choose otherwise now
    }
    let compute = Compute::new(device, job.precision);
    job.precision = compute.precision;
    if let Some((then, saved)) = then.zip(saved) {
        compatibility::follows(job, &then, saved)?;
        tracing::info!("resuming from step {} ({})", saved.manifest.step, saved.folder.display());
        changes::say(job, &then, saved.manifest.step);
    }
    Ok(compute)
}

/// Empties a state folder: history, write-ahead log, checkpoints, the journals of sources, and a pause. What sinks have
/// written is kept.
fn clear(folder: &StateFolder) -> Result<()> {
    let path = folder.path();
    history::clear(path)?;
    let paused = path.join(PAUSED);
    if paused.exists() {
        std::fs::remove_file(&paused).map_err(|error| Error::file(&paused, error))?;
    }
    Wal::forget(&path.join(LOG))?;
    folder.clear()?;
    for entry in std::fs::read_dir(path).map_err(|error| Error::file(path, error))? {
        let path = entry.map_err(|error| Error::file(path, error))?.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            std::fs::remove_file(&path).map_err(|error| Error::file(&path, error))?;
        }
    }
    Ok(())
}

/// Refuses to return to the best checkpoint of a job whose write-ahead log no longer has what came after it.
fn refuse_best_with_log(folder: &StateFolder) -> Result<()> {
    let log = folder.path().join(LOG);
    match log.exists() {
        true => Err(Error::file(
            log,
            "--from-best is for jobs whose samples can be read again: this log no longer has all that came after the \
             best checkpoint; use it by `eval --best` and `export --best`",
        )),
        false => Ok(()),
    }
}

/// Builds a job's sources and mixes them.
pub fn sources(job: &Job, context: &Context) -> Result<Mix> {
    let whole: f64 = job.sources.iter().map(|stream| stream.weight).sum();
    let source = |(at, stream): (usize, &Stream)| -> Result<_> {
        let context = Context { source: at, ..context.clone() };
        let source = (SOURCES.find(&stream.spec.kind)?.build)(&stream.spec, &context)?;
        let source = match job.scenario.changes() {
            true => scenario::apply(source, &job.scenario, stream.weight / whole, &context)?,
            false => source,
        };
        Ok((source, stream.weight))
    };
    Mix::new(job.sources.iter().enumerate().map(source).collect::<Result<_>>()?)
}

/// Builds a job's method.
pub fn method(job: &Job) -> Result<Box<dyn Method>> {
    (METHODS.find(&job.method.kind)?.build)(&job.method)
}
