//! Builds a job's outputs: sinks, observers and the job status.

use crate::engine::flow;
use crate::engine::metrics::{Outputs, State};
use crate::job::Job;
use crate::job::sinks::{JobSink, SINKS};
use crate::run::Options;
use sluicebox_core::controls::Controls;
use sluicebox_core::error::Result;
use sluicebox_core::report::About;
use sluicebox_core::report::progress::ProgressCounter;
use sluicebox_core::sample::{Format, Shape};
use sluicebox_core::system;
use sluicebox_core::system::now_ms;
use sluicebox_learn::device;
use sluicebox_observe::console::Console;
use sluicebox_observe::gallery::{Gallery, Thumbnails};
use sluicebox_observe::history::HistoryWriter;
use sluicebox_observe::status::{JobStatus, StatusObserver};
use std::sync::{Arc, Mutex};
use tch::Device;

/// Builds the outputs of a job that resumes from `state`, and its job status if `shows`.
pub fn gather(
    job: &Job,
    about: About,
    options: &Options,
    state: &State,
    controls: Controls,
    shows: bool,
) -> Result<(Outputs, Option<Arc<JobStatus>>)> {
    let mut audience = Outputs::default();
    let clock: Arc<ProgressCounter> = audience.clock.clone();
    if let Some(log) = options.log {
        audience.observers.add(Box::new(Console::new(log, clock.clone(), &options.logs)))?;
    }
    for spec in &job.sinks {
        match (SINKS.find(&spec.kind)?.build)(spec, &about)? {
            JobSink::Epochs(observer) => audience.observers.add(observer)?,
            JobSink::Samples(mut sink) => {
                if let Some(state) = state.sinks.get(&sink.name()) {
                    sink.load(state)?;
                }
                audience.sinks.push(sink);
            }
        }
    }
    if options.state.is_none() && !shows {
        return Ok((audience, None));
    }
    let mut history_writer = HistoryWriter::open(options.state.as_deref(), &job.history, &about)?;
    history_writer.go_on_after(state.epochs)?;
    let board = match shows {
        true => {
            let wall: Arc<Mutex<Thumbnails>> = Arc::default();
            audience.gallery = about.images.then(|| Gallery::new(wall.clone()));
            let board = Arc::new(JobStatus::new(about, clock, controls, wall, history_writer.reader()?));
            audience.observers.add(Box::new(StatusObserver(board.clone())))?;
            Some(board)
        }
        false => None,
    };
    audience.observers.add(Box::new(history_writer))?;
    Ok((audience, board))
}

/// Returns the description of a job, which is constant while it runs.
pub fn about(job: &Job, format: &Format, device: Device, options: &Options, ledger: bool) -> About {
    let gpu = device::gpu(device).and_then(|gpu| gpu.name());
    let machine = [Some(system::describe()), gpu].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let edges = flow::EDGES.iter().filter(|(from, to, _)| ledger || (*from != "ledger" && *to != "ledger"));
    About {
        job: job.name.clone(),
        method: job.method.kind.clone(),
        toml: job.resolved(),
        device: device::name(device),
        machine,
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        started_ms: now_ms(),
        epoch_steps: job.epoch.steps,
        stop_epochs: job.stop.epochs,
        classes: format.classes.clone(),
        edges: edges.map(|(from, to, back)| (from.to_string(), to.to_string(), *back)).collect(),
        images: matches!(format.shape, Shape::Image { .. }),
        state: options.state.as_ref().map(|state| state.display().to_string()),
    }
}
