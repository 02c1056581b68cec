//! Builds a running dataflow from a job, and its summary.

pub mod adaptation;
pub mod evaluate;
pub mod outputs;

pub use adaptation::Adaptation;

use crate::engine::checkpoint::{Saved, StateFolder, Store};
use crate::engine::flow;
use crate::engine::flow::Ledger;
use crate::engine::metrics;
use crate::engine::metrics::{Evaluator, Reporter, State, Summary};
use crate::job;
use crate::job::{Job, Stream};
use crate::serve::endpoints::Endpoints;
use crate::serve::predictor::Predictor;
use sluicebox_core::controls::Controls;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::Randomness;
use sluicebox_core::sample::Format;
use sluicebox_core::state::Section;
use sluicebox_core::system::peak_resident_mib;
use sluicebox_learn::augmentation::Policy;
use sluicebox_learn::device;
use sluicebox_learn::device::{Compute, Precision};
use sluicebox_learn::method::METHODS;
use sluicebox_learn::method::api::View;
use sluicebox_learn::model;
use sluicebox_learn::model::api::Model;
use sluicebox_learn::optimiser::OPTIMISERS;
use sluicebox_learn::published::Published;
use sluicebox_learn::replay::awaiting_labels::LabelWindow;
use sluicebox_learn::replay::buffer::ReplayBuffer;
use sluicebox_learn::stages::collate::Collate;
use sluicebox_learn::stages::filter::Filter;
use sluicebox_learn::stages::gate::Gate;
use sluicebox_learn::stages::student::{Settings, Student};
use sluicebox_learn::stages::teacher::Teacher;
use sluicebox_learn::stages::views::{StrongViews, WeakViews};
use sluicebox_observe::logging::Logs;
use sluicebox_observe::logging::RowFormat as Log;
use sluicebox_stream::microbatch::batcher::{BatchPlan, MicroBatcher};
use sluicebox_stream::microbatch::late_labels::LateLabels;
use sluicebox_stream::microbatch::mix::Mix;
use sluicebox_stream::scenario;
use sluicebox_stream::scenario::phases::Phases;
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::Context;
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tch::{Device, Tensor};

/// Options of a run besides the job.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// State folder, for checkpoints. None: nothing is kept.
    pub state: Option<PathBuf>,
    /// Start from scratch, even if the folder holds a state.
    pub fresh: bool,
    /// Format of reports on stdout. None: no reports.
    pub log: Option<Log>,
    /// Source of the job's log lines.
    pub logs: Logs,
    /// Token that clients of the job's endpoints must present.
    pub token: Option<String>,
}

/// Runs a job until it ends or `stop` is raised.
pub fn run(job: &Job, options: &Options, stop: Arc<AtomicBool>) -> Result<Summary> {
    let began = Instant::now();
    let Prepared { job, device, stages, reporter, store, outside } = prepare(job, options, stop)?;
    let samples_before = reporter.borrow().total().samples;
    let ran = flow::run(stages);
    reporter.borrow().end();
    ran?;
    drop(outside);
    let seconds = began.elapsed().as_secs_f64();

    let (reporter, store) = (reporter.borrow(), store.borrow());
    let (total, state) = (reporter.total(), reporter.state());
    Ok(Summary {
        job: job.name,
        method: job.method.kind,
        device: device::name(device),
        workers: job.workers,
        seed: job.seed,
        epochs: state.epochs,
        steps: total.steps,
        samples_seen: total.samples,
        samples_per_s: (total.samples - samples_before) as f64 / seconds,
        seconds,
        accepted_fraction: total.accepted_fraction(),
        pseudo_label_precision: total.pseudo_label_precision(),
        student_samples: total.student_samples,
        accuracy: state.accuracy,
        label_count: state.labels_known,
        late_labels: reporter.late_labels(),
        prequential_accuracy: total.prequential_accuracy(),
        near_future_accuracy: state.future.accuracy(),
        near_future_shift: state.future.shift(),
        average_anytime_accuracy: state.by_phase.average_anytime_accuracy(),
        forgetting: state.by_phase.forgetting(),
        backward_transfer: state.by_phase.backward_transfer(),
        min_accuracy: state.by_phase.min_accuracy(),
        worst_case_accuracy: state.by_phase.worst_case_accuracy(),
        recovery_steps: state.recovery.steps(),
        student_passes_per_sample: total.student_passes_per_sample(),
        checkpoints: store.written(),
        peak_rss_mib: peak_resident_mib(),
        weights_sha256: store.weights_sha256().to_string(),
    })
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
    pub outside: Option<Endpoints>,
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

/// Builds a job's model, with the heads that its method needs.
pub fn model(job: &Job, format: &Format) -> Result<Box<dyn Model>> {
    let method = (METHODS.find(&job.method.kind)?.build)(&job.method)?;
    model::build(&job.model, format, method.views().heads)
}

/// Opens the device, finds the saved state, builds every stage and restores it.
pub fn prepare(job: &Job, options: &Options, stop: Arc<AtomicBool>) -> Result<Prepared> {
    let device = device::open(&job.device, job.threads)?;
    let folder = options.state.as_deref().map(StateFolder::open).transpose()?;
    let saved = match &folder {
        Some(folder) if options.fresh => folder.clear().map(|()| None)?,
        Some(folder) => folder.newest()?,
        None => None,
    };
    let mut job = job.clone();
    if let (Precision::Auto, Some(saved)) = (job.precision, &saved) {
        job.precision = saved.manifest.job.precision; // `auto` might choose otherwise now
    }
    let compute = Compute::new(device, job.precision);
    job.precision = compute.precision;
    if let Some(saved) = &saved {
        saved.follows(&job)?;
        tracing::info!("going on from step {} ({})", saved.manifest.step, saved.folder.display());
    }

    let randomness = Randomness::new(job.seed, 0);
    let context = Context { seed: job.seed, state: options.state.clone(), ..Context::default() };
    let sources = sources(&job, &context)?;
    let format = sources.format().clone();
    if let Some(saved) = &saved {
        saved.suits(&format)?;
    }
    let model: Rc<dyn Model> = model(&job, &format)?.into();
    let method = || (METHODS.find(&job.method.kind)?.build)(&job.method);
    let wanted = method()?.views();
    let policy = |name: &str, specs| {
        let policy = Policy::build(specs)?;
        match policy.refuses(format.shape) {
            Some((place, reason)) => Err(Error::Request(format!("views.{name}[{place}]: {reason}"))),
            None => Ok(policy),
        }
    };
    let held_out = sources.held_out(job.report.held_out)?;

    let schedule = BatchPlan {
        batch: job.batch.unlabelled,
        max_wait: job.batch.max_wait,
        epoch_steps: job.epoch.steps,
        stop_step: job.stop_step(),
        stop_samples: (job.stop.samples > 0).then_some(job.stop.samples),
        checkpoint_steps: (job.checkpoint.steps > 0 && folder.is_some()).then_some(job.checkpoint.steps),
    };
    let resumed = match &saved {
        Some(saved) => Some((saved.manifest.step, saved.section(Section::Source)?)),
        None => None,
    };
    if sources.acknowledges() && options.state.is_none() {
        let reason =
            "this job acknowledges what it is sent, so it needs a folder to keep that in: --state DIR";
        return Err(Error::request(reason));
    }
    let serves = job.server.listen.is_some();
    // Labels sent to the server are kept in the state folder; without one the server takes none.
    let takes_labels = serves && options.state.is_some() && job.server.labels;
    let takes_in = sources.is_timed() || job.ledger.retain_for.is_some() || takes_labels;
    let mut outside = (takes_in || serves)
        .then(|| Endpoints::open(&job, &format, takes_in, options.state.as_deref(), options.token.clone()))
        .transpose()?;
    let live = outside.as_ref().and_then(|outside| outside.live.as_ref());
    let labels_come = live.is_some() || job.labels.rate > 0.0;
    let mut memory = memory(&job, &format, randomness);
    let mut answers = Adaptation::new(&job, &format, labels_come, device);
    saved.as_ref().map_or(Ok(()), |saved| answers.restore(saved, &format))?;
    let told = answers.told(compute);
    let Adaptation { replay, pace, answering } = answers;
    let mut window = labels_come.then(|| LabelWindow::new(format.shape, job.labels.window));
    // A job that took no labels until now starts with an empty window and an empty ledger.
    let held = saved.as_ref().and_then(|saved| saved.sections.get(Section::Window));
    if let (Some(held), Some(window)) = (held, &mut window) {
        window.restore(held)?;
        if let Some(live) = live {
            window.samples().for_each(|(id, values)| live.ingest.remember(id, &values));
        }
    }
    let labels = LateLabels::new(job.labels.rate, job.labels.delay, randomness)
        .noisy(job.scenario.label_noise, format.classes.len());
    let controls = Controls::stopped_by(stop);
    let feed = MicroBatcher::new(sources, labels, schedule, controls.clone(), live, resumed)?;
    let mut filter = Filter::new(method()?, job.filter.mode, device);
    let classes = format.classes.len();
    filter.gate = job.filter.gate(labels_come).map(|settings| Gate::new(settings, classes));
    filter.answering = answering;
    let settings = Settings {
        ema: job.teacher.ema,
        lag: job.teacher.lag,
        schedule: job.schedule.clone(),
        horizon: job.stop_step(),
        regularise: job.regularise.clone(),
        classes: format.classes.len() as i64,
        shape: format.shape,
    };
    let optimiser = OPTIMISERS.find(&job.optimiser.kind)?;
    let optimiser = |parameters: &Tensor| (optimiser.build)(&job.optimiser, parameters);
    let mut student = Student::new(model.clone(), method()?, optimiser, settings, randomness, compute)?;
    let mut state = State::default();
    if let Some(saved) = &saved {
        memory.restore(saved.section(Section::Memory)?)?;
        filter.method.restore(saved.section(Section::Method)?)?;
        if let (Some(gate), Some(held)) = (&mut filter.gate, saved.sections.get(Section::Gate)) {
            gate.restore(held)?;
        }
        student.restore(saved.section(Section::Student)?)?;
        let damaged = |error| Error::file(&saved.folder, format!("the report's state is damaged: {error}"));
        state = bincode::deserialize(saved.section(Section::Report)?).map_err(damaged)?;
    }

    let wants_ledger = labels_come || filter.waits();
    let ledger = ledger(&job, wants_ledger, format.classes.len(), device, saved.as_ref())?;
    let about = outputs::about(&job, &format, device, options, ledger.is_some());
    let shows = outside.as_ref().is_some_and(|outside| outside.listens_at(&job).is_some());
    let (audience, board) = outputs::gather(&job, about, options, &state, controls, shows)?;
    options.logs.attach(&audience.observers);
    if let (Some(outside), Some(board)) = (&mut outside, board)
        && let Some(address) = outside.listens_at(&job)
    {
        let published = Arc::new(Published::default());
        student.publish_in(published.clone(), told);
        let own = {
            let (job, format) = (job.clone(), format.clone());
            move || self::model(&job, &format)
        };
        let predictor = Predictor::start(own, &format, compute, published)?;
        outside.serve(address, format.clone(), predictor, board)?;
    }
    let evaluator = Evaluator {
        model: model.clone(),
        compute,
        held_out,
        format: format.clone(),
        phases: Phases::new(&job.scenario, &format)?,
        every_epochs: job.report.evaluate_epochs,
    };
    let at_once = ledger.is_some() && device == Device::Cpu;
    let schedule = metrics::ReportPlan {
        sources: job.sources.iter().map(|stream| stream.spec.kind.clone()).collect(),
        epoch_steps: job.epoch.steps,
        // On a CPU a readback waits for no device, and one per step keeps the ledger up to date.
        fetch_steps: if at_once { 1 } else { job.report.fetch_steps },
        window: job.flow.window,
        recent: job.report.window,
        drift: job.drift.clone(),
        alarm_steps: job.flow.window + job.report.fetch_steps,
        for_ledger: ledger.is_some(),
    };
    let mut batcher = Collate::new(memory, window, job.batch.labelled, format.clone(), randomness, compute);
    (batcher.pace, batcher.replay) = (pace, replay);
    batcher.keeps = job.drift.keeps;
    batcher.shows = audience.gallery.is_some();
    let reweights = state.reweights.clone();
    let reporter = Reporter::new(evaluator, audience, schedule, state);
    let reporter = Rc::new(RefCell::new(reporter));
    let log = outside.as_ref().and_then(|outside| Some(outside.live.as_ref()?.ingest.log().clone()));
    let store = Rc::new(RefCell::new(Store::new(folder, job.clone(), format.clone(), log)));
    let stages = flow::Stages {
        window: job.flow.window,
        lag: job.teacher.lag,
        in_flight: student.in_flight(),
        reweights,
        feed,
        batcher,
        weak: WeakViews {
            weak: policy("weak", &job.views.weak)?,
            labelled: policy("labelled", &job.views.labelled)?,
            count: wanted.weak,
            randomness,
        },
        teacher: Teacher::new(model, compute, wanted),
        filter,
        strong: StrongViews {
            policy: match wanted.student {
                View::Weak => policy("weak", &job.views.weak)?,
                View::Labelled => policy("labelled", &job.views.labelled)?,
                View::Strong | View::Spliced => policy("strong", &job.views.strong)?,
            },
            spliced: wanted.student == View::Spliced,
            count: wanted.strong,
            randomness,
        },
        student,
        ledger,
        reporter: reporter.clone(),
        store: store.clone(),
    };
    Ok(Prepared { job, device, stages, reporter, store, outside })
}

/// Builds the job's replay buffer of labelled samples.
fn memory(job: &Job, format: &Format, randomness: Randomness) -> ReplayBuffer {
    let bytes = format.shape.len() * format.dtype.bytes();
    let fit = job.memory.bytes.map_or(usize::MAX, |most| (most / bytes).max(1));
    ReplayBuffer::new(format, job.memory.capacity.min(fit), job.memory.keep, randomness)
}

/// Default of `ledger.retain`, in samples.
const RETAIN: u64 = 100_000;

/// Builds the job's ledger if the job asks for it or another part needs it (`wanted`).
fn ledger(
    job: &Job,
    wanted: bool,
    classes: usize,
    device: Device,
    saved: Option<&Saved>,
) -> Result<Option<Ledger>> {
    let job::Ledger { retain, retain_for } = job.ledger;
    let asked = retain.is_some() || retain_for.is_some();
    if !(asked || wanted) {
        return Ok(None);
    }
    let lag = if device == Device::Cpu { 1 } else { job.report.fetch_steps };
    let mut ledger = Ledger::new(retain.unwrap_or(RETAIN), retain_for, classes, lag);
    if let Some(state) = saved.and_then(|saved| saved.sections.get(Section::Ledger)) {
        ledger.restore(state)?;
    }
    Ok(Some(ledger))
}
