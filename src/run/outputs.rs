//! Builds a job's outputs: sinks, observers, the job status and the server that shows it.

use crate::engine::checkpoint::BegunSinks;
use crate::engine::metrics::{Outputs, State};
use crate::job::advice::advice;
use crate::job::sinks::{JobSink, SINKS};
use crate::run::open::Opened;
use crate::run::options::Options;
use crate::serve::predictor::Predictor;
use parking_lot::Mutex;
use sluicebox_core::controls::Controls;
use sluicebox_core::error::Result;
use sluicebox_core::observers::Event;
use sluicebox_core::report::pipeline::PIPELINE;
use sluicebox_core::report::progress::ProgressCounter;
use sluicebox_core::report::{About, Mark, MarkKind};
use sluicebox_core::sample::Shape;
use sluicebox_core::system;
use sluicebox_core::system::now_ms;
use sluicebox_learn::adapt::correction::PriorCorrection;
use sluicebox_learn::device;
use sluicebox_learn::model;
use sluicebox_learn::published::Published;
use sluicebox_learn::stages::student::Student;
use sluicebox_learn::standardise::Scale;
use sluicebox_observe::console::Console;
use sluicebox_observe::gallery::{Gallery, Thumbnails};
use sluicebox_observe::history::HistoryWriter;
use sluicebox_observe::status::{JobStatus, StatusObserver};
use std::sync::Arc;

/// Builds the outputs of a job that goes on from `state`, and its job status if it has a server.
pub fn gather(
    opened: &Opened,
    options: &Options,
    state: &State,
    controls: Controls,
) -> Result<(Outputs, Option<Arc<JobStatus>>)> {
    let about = about(opened, options);
    let mut outputs = Outputs { controls: controls.clone(), ..Outputs::default() };
    let clock = outputs.progress.clone();
    if let Some(log) = options.log {
        outputs.observers.add(Box::new(Console::new(
            log,
            opened.job.end_step(),
            clock.clone(),
            controls.clone(),
            &options.logs,
        )))?;
    }
    add_sinks(&mut outputs, opened, &about, state, &controls)?;
    let serves = opened.listens_at().is_some();
    let status = match options.state.is_some() || serves {
        true => add_history(&mut outputs, opened, options, about, state, (clock, controls))?,
        false => None,
    };
    options.logs.attach(&outputs.observers);
    let step = steps(state);
    if step > 0 {
        let (epoch, text) = (state.epochs + 1, format!("went on from step {step}"));
        let mark = Mark { at_ms: now_ms(), epoch, step, kind: MarkKind::Restart, text };
        outputs.observers.notify(&Event::Mark(Arc::new(mark)));
    }
    Ok((outputs, status))
}

/// Adds the job's sinks, those of predictions in their saved state. A sink that the state does not know keeps what
/// is there, unless this state has begun it since its last checkpoint.
fn add_sinks(
    outputs: &mut Outputs,
    opened: &Opened,
    about: &About,
    state: &State,
    controls: &Controls,
) -> Result<()> {
    let mut begun = opened.folder.as_ref().map(|folder| BegunSinks::open(folder.path())).transpose()?;
    for spec in &opened.job.sinks {
        match (SINKS.find(&spec.kind)?.build)(spec, about)? {
            JobSink::Epochs(observer) => outputs.observers.add(observer)?,
            JobSink::Samples(mut sink) => {
                sink.watch(controls);
                let name = sink.name();
                match (state.sinks.get(&name), &mut begun) {
                    (Some(state), _) => sink.load(state)?,
                    (None, Some(begun)) => {
                        sink.begin(begun.contains(&name))?;
                        begun.add(name)?;
                    }
                    (None, None) => sink.begin(false)?,
                }
                outputs.sinks.push(sink);
            }
        }
    }
    Ok(())
}

/// Returns the steps done in `state`.
fn steps(state: &State) -> u64 {
    state.job.steps + state.epoch.steps
}

/// Adds the history, which goes on from `state`; with a server also the job status and the thumbnails.
fn add_history(
    outputs: &mut Outputs,
    opened: &Opened,
    options: &Options,
    about: About,
    state: &State,
    (clock, controls): (Arc<ProgressCounter>, Controls),
) -> Result<Option<Arc<JobStatus>>> {
    let mut history = HistoryWriter::open(options.state.as_deref(), &opened.job.history, &about)?;
    history.go_on_after(state.epochs, steps(state))?;
    let status = match opened.listens_at() {
        Some(_) => {
            let thumbnails: Arc<Mutex<Thumbnails>> = Arc::default();
            outputs.gallery = about.images.then(|| Gallery::new(thumbnails.clone()));
            let status = JobStatus::new(about, clock, controls, thumbnails, history.reader()?);
            let status = Arc::new(status);
            outputs.observers.add(Box::new(StatusObserver(status.clone())))?;
            Some(status)
        }
        None => None,
    };
    outputs.observers.add(Box::new(history))?;
    Ok(status)
}

/// Starts the job's server: it shows `status`, and predicts with what `student` publishes from now on, at
/// first with `correction` and the input's `scale`.
pub fn serve(
    opened: &mut Opened,
    student: &mut Student,
    correction: Option<PriorCorrection>,
    scale: Option<Scale>,
    status: Arc<JobStatus>,
) -> Result<()> {
    let (spec, format, heads) =
        (opened.job.model.clone(), opened.format.clone(), opened.method.views().heads);
    let Some(address) = opened.listens_at().map(str::to_string) else { return Ok(()) };
    let published = Arc::new(Published::default());
    student.publish_in(published.clone(), correction, scale);
    let own = {
        let format = format.clone();
        move || model::build(&spec, &format, heads)
    };
    let health = status.controls.health.clone();
    let predictor = Predictor::start(own, &format, opened.compute, published, health)?;
    let endpoints = opened.endpoints.as_mut();
    endpoints.map_or(Ok(()), |endpoints| {
        endpoints.serve(&address, (format, opened.form.clone()), predictor, status)
    })
}

/// Returns the description of a job, which is constant while it runs.
fn about(opened: &Opened, options: &Options) -> About {
    let Opened { job, format, compute, effective, .. } = opened;
    let gpu = device::gpu(compute.device).and_then(|gpu| gpu.name());
    let machine = [Some(system::describe()), gpu].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let edges = PIPELINE.edges(effective.retain.is_some());
    About {
        job: job.name.clone(),
        method: job.method.kind.clone(),
        toml: job.resolved(),
        device: device::name(compute.device),
        machine,
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        started_ms: now_ms(),
        epoch_steps: job.epoch.steps,
        epoch_seconds: job.epoch.seconds,
        stop_epochs: job.stop.epochs,
        stop_samples: job.stop.samples,
        stop_patience: job.stop.patience,
        classes: format.classes.clone(),
        edges: edges.map(|(from, to, back)| (from.to_string(), to.to_string(), back)).collect(),
        images: matches!(format.shape, Shape::Image { .. }),
        fed: opened.ingest().is_some(),
        recommended: advice(job, effective).beside(&job.method.kind),
        state: options.state.as_ref().map(|state| state.display().to_string()),
        ended_ms: None,
    }
}
