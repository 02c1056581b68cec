//! Builds the stages, one function each, and restores those of a resumed job.

use crate::engine::checkpoint::{SavedJob, StateFolder, Store};
use crate::engine::flow::Ledger;
use crate::engine::metrics::{
    Evaluator, FETCH_STEPS, FetchSchedule, Outputs, Remedy, ReportPlan, Reporter, State,
};
use crate::job::Job;
use crate::run::adaptation::Adaptation;
use crate::run::open::{Learning, Opened};
use sluicebox_core::config::registry::Spec;
use sluicebox_core::controls::Controls;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::Section;
use sluicebox_learn::adapt::correction_fit::CorrectionFit;
use sluicebox_learn::adapt::experts::Experts;
use sluicebox_learn::adapt::prior::Prior;
use sluicebox_learn::adapt::thread::ExpertsThread;
use sluicebox_learn::augmentation::Policy;
use sluicebox_learn::method::api::View;
use sluicebox_learn::model;
use sluicebox_learn::model::layout::Slot;
use sluicebox_learn::optimiser::OPTIMISERS;
use sluicebox_learn::replay::awaiting_labels::LabelWindow;
use sluicebox_learn::replay::buffer::ReplayBuffer;
use sluicebox_learn::stages::collate::Collate;
use sluicebox_learn::stages::filter::Filter;
use sluicebox_learn::stages::gate::Gate;
use sluicebox_learn::stages::prototype_fit::PrototypeFit;
use sluicebox_learn::stages::relabel::corrector::Corrector;
use sluicebox_learn::stages::relabel::refined::Refined;
use sluicebox_learn::stages::student::{Settings, Student};
use sluicebox_learn::stages::teacher::Teacher;
use sluicebox_learn::stages::views::{StrongViews, StudentView, WeakViews};
use sluicebox_learn::stages::warm_up::WarmUp;
use sluicebox_learn::standardise::Standardise;
use sluicebox_stream::microbatch::batcher::MicroBatcher;
use sluicebox_stream::microbatch::late_labels::LateLabels;
use sluicebox_stream::microbatch::mix::Mix;
use sluicebox_stream::microbatch::plan::BatchPlan;
use sluicebox_stream::scenario::phases::Phases;
use sluicebox_stream::source::api::HeldOut;
use tch::{Device, Kind, Tensor};

/// Builds the input's scale and the experts for collate, and the answers for the filter.
pub fn adaptation(opened: &Opened) -> Result<Adaptation> {
    let Opened { job, effective, format, .. } = opened;
    effective.without_prototypes(job).map_or(Ok(()), |reason| Err(Error::request(reason)))?;
    let mut adaptation = Adaptation::new(job, effective, format);
    opened.sections().map_or(Ok(()), |sections| adaptation.load_from(sections, format))?;
    Ok(adaptation)
}

/// Builds the stage that adds labelled samples to a micro-batch. Call it before [`source`]: the ingest gate
/// must know the samples that await a label before it takes in others.
pub fn collate(
    opened: &Opened,
    standardise: Option<Standardise>,
    experts: Option<Experts>,
) -> Result<Collate> {
    let Opened { job, effective, format, randomness, compute, .. } = opened;
    let window = effective.late_labels.then(|| LabelWindow::new(format.shape, job.labels.window));
    let memory = memory(opened);
    let mut collate = Collate::new(memory, window, job.batch.labelled, format.clone(), *randomness, *compute);
    let beside_gpu = compute.device != Device::Cpu;
    let shares = opened.sections().and_then(|sections| sections.get(Section::ReplayShares));
    collate.experts = experts.map(|experts| ExpertsThread::start(experts, shares, beside_gpu)).transpose()?;
    collate.published = opened.listens_at().is_some();
    (collate.replay, collate.decay) = (effective.replay, job.drift.keeps);
    (collate.pace, collate.blends, collate.standardise) = (job.memory.pace, effective.blend, standardise);
    job.loss
        .class_weights
        .misfit(format.classes.len())
        .map_or(Ok(()), |reason| Err(Error::Request(reason)))?;
    collate.class_weights = job.loss.class_weights.clone();
    (collate.updates, collate.warm_up) = (job.batch.updates, WarmUp::new(job.batch.warmup_steps));
    collate.learns_unlabelled = !opened.method.views().student.is_empty();
    opened.sections().map_or(Ok(()), |sections| collate.load_from(sections))?;
    if let (Some(window), Some(live)) = (&collate.window, opened.ingest()) {
        window.samples().for_each(|(id, values)| live.ingest.remember(id, &values));
    }
    Ok(collate)
}

/// Builds the replay buffer of labelled samples.
fn memory(opened: &Opened) -> ReplayBuffer {
    let Opened { job, format, randomness, .. } = opened;
    let bytes = format.shape.len() * format.dtype.bytes();
    let fit = job.memory.bytes.map_or(usize::MAX, |most| (most / bytes).max(1));
    ReplayBuffer::new(format, job.memory.capacity.min(fit), job.memory.keep, *randomness)
}

/// Builds the stage that cuts the stream into micro-batches, and starts the sources that listen.
pub fn source(opened: &Opened, sources: Mix, controls: Controls) -> Result<MicroBatcher> {
    let Opened { job, format, randomness, saved, .. } = opened;
    let plan = BatchPlan {
        batch: job.batch.unlabelled,
        max_wait: job.batch.max_wait,
        epoch_steps: job.epoch.steps,
        epoch_time: job.epoch.time(),
        stop_step: job.stop_step(),
        stop_samples: (job.stop.samples > 0).then_some(job.stop.samples),
        checkpoint_steps: (job.checkpoint.steps > 0 && opened.folder.is_some())
            .then_some(job.checkpoint.steps),
        checkpoint_epochs: job.checkpoint.best && opened.folder.is_some(),
        phases: Phases::new(&job.scenario, format)?,
    };
    let labels = LateLabels::new(job.labels.rate, job.labels.delay, *randomness)
        .noisy(job.scenario.label_noise, format.classes.len());
    let resumed = saved.as_ref().map(|saved| (saved.manifest.step, &saved.sections));
    MicroBatcher::new(sources, labels, plan, controls, opened.ingest(), resumed)
}

/// Builds the stage of the teacher's views.
pub fn weak_views(learning: &Learning) -> Result<WeakViews> {
    let views = &learning.job.views;
    Ok(WeakViews {
        weak: policy(learning, "weak", &views.weak)?,
        labelled: policy(learning, "labelled", &views.labelled)?,
        further_labelled: student_views(learning, learning.method.views().labelled)?,
        count: learning.method.views().weak,
        randomness: learning.randomness,
    })
}

/// Builds the stage of the student's views.
pub fn strong_views(learning: &Learning) -> Result<StrongViews> {
    let views = student_views(learning, learning.method.views().student)?;
    Ok(StrongViews { views, randomness: learning.randomness })
}

fn student_views(learning: &Learning, wanted: Vec<View>) -> Result<Vec<StudentView>> {
    let views = &learning.job.views;
    if let Some(reason) = learning.method.views().refuses(learning.format.shape) {
        let kind = &learning.job.method.kind;
        return Err(Error::Request(format!("method.kind = \"{kind}\" {reason}: name another method")));
    }
    let made = |view: View| {
        let specs = match view.list() {
            "weak" => views.weak.as_slice(),
            "labelled" => &views.labelled,
            "medium" => views.medium(),
            _ => &views.strong,
        };
        Ok(StudentView { view, policy: policy(learning, view.list(), specs)? })
    };
    wanted.into_iter().map(made).collect()
}

/// Builds the augmentations `views.NAME`, which must suit the samples.
fn policy(learning: &Learning, name: &str, specs: &[Spec]) -> Result<Policy> {
    let policy = Policy::build(specs)?;
    match policy.refuses(learning.format.shape) {
        Some((place, reason)) => Err(Error::Request(format!("views.{name}[{place}]: {reason}"))),
        None => Ok(policy),
    }
}

/// Builds the stage that scores.
pub fn teacher(learning: &Learning) -> Teacher {
    let Learning { job, format, model, compute, .. } = learning;
    let mut wanted = learning.method.views();
    let needs = job.labels.correct || job.regularise.refine > 0.0 || job.answer.prototypes.is_some();
    wanted.labelled_scores |= needs;
    let mut teacher = Teacher::new(model.clone(), *compute, wanted);
    teacher.blank = (job.answer.prior == Some(Prior::Blank))
        .then(|| Tensor::full(format.shape.batch(1), job.answer.blank, (Kind::Float, compute.device)));
    teacher
}

/// Builds the stage that makes pseudo-labels.
pub fn filter(
    opened: &Opened,
    correction: Option<CorrectionFit>,
    prototypes: Option<PrototypeFit>,
) -> Result<Filter> {
    let mut filter = Filter::new(&*opened.method, opened.job.filter.mode, opened.compute.device);
    let classes = opened.format.classes.len();
    filter.gate = opened.effective.gate.clone().map(|settings| Gate::new(settings, classes));
    (filter.correction_fit, filter.prototypes) = (correction, prototypes);
    filter.pseudo_labels_from = opened.job.answer.pseudo_labels;
    filter.means = opened.job.regularise.margin > 0.0;
    let Job { labels, regularise, .. } = &opened.job;
    filter.corrector =
        labels.correct.then(|| Corrector::new(opened.format.classes.clone(), labels.correct_above));
    filter.refined = (regularise.refine > 0.0)
        .then_some(Refined { share: regularise.refine, steps: regularise.refine_steps });
    opened.sections().map_or(Ok(()), |sections| filter.load_from(sections))?;
    Ok(filter)
}

/// Builds the stage that trains.
pub fn student(learning: &Learning) -> Result<Student> {
    let Learning { job, format, model, randomness, compute, sections, .. } = learning;
    let (_, start) = model::start::split(&job.model)?;
    let first = if sections.is_some() { None } else { start.first(model.layout())? };
    let first = first.map(|(layout, told)| {
        if randomness.worker() == 0 {
            tracing::info!("{told}");
        }
        layout
    });
    let settings = Settings {
        ema: job.teacher.ema,
        lag: job.teacher.lag,
        schedule: job.schedule.clone(),
        horizon: job.end_step(),
        regularise: job.regularise.clone(),
        classes: format.classes.len() as i64,
        shape: format.shape,
        first,
        rates: start.rates(model.layout())?,
    };
    let optimiser = OPTIMISERS.find(&job.optimiser.kind)?;
    let optimiser = |parameters: &Tensor| (optimiser.build)(&job.optimiser, parameters);
    let (model, method) = (model.clone(), learning.method.clone());
    let mut student = Student::new(model, method, optimiser, settings, *randomness, *compute)?;
    sections.map_or(Ok(()), |sections| student.load_from(sections))?;
    Ok(student)
}

/// Builds the ledger, if the job has one.
pub fn ledger(opened: &Opened) -> Result<Option<Ledger>> {
    let Opened { job, format, effective, .. } = opened;
    let Some(retain) = effective.retain else { return Ok(None) };
    let lag = fetch_schedule(opened)?.lag();
    let mut ledger = Ledger::new(retain, job.ledger.retain_for, format.classes.len(), lag);
    opened.sections().map_or(Ok(()), |sections| ledger.load_from(sections))?;
    Ok(Some(ledger))
}

/// Builds the stage that reports; it goes on from `state`.
pub fn reporter(
    opened: &Opened,
    held_out: Option<Box<dyn HeldOut>>,
    outputs: Outputs,
    state: State,
) -> Result<Reporter> {
    let Opened { job, format, model, compute, .. } = opened;
    let evaluator = Evaluator {
        model: model.clone(),
        compute: *compute,
        held_out,
        format: format.clone(),
        phases: Phases::new(&job.scenario, format)?,
        every_epochs: job.report.evaluate_epochs,
    };
    Ok(Reporter::new(evaluator, outputs, plan(opened)?, state))
}

/// Settles when step results are fetched from the device.
fn fetch_schedule(opened: &Opened) -> Result<FetchSchedule> {
    let Opened { job, effective, compute, .. } = opened;
    let (asked, for_ledger) = (job.report.fetch_steps, effective.retain.is_some());
    match compute.device {
        Device::Cpu => Ok(FetchSchedule::on_cpu(asked, for_ledger)),
        _ => FetchSchedule::on_gpu(asked, for_ledger, job.flow.window),
    }
}

fn plan(opened: &Opened) -> Result<ReportPlan> {
    let job = &opened.job;
    let schedule = fetch_schedule(opened)?;
    Ok(ReportPlan {
        sources: job.source_kinds(),
        epoch_steps: job.epoch.steps,
        schedule,
        window: job.flow.window,
        recent: job.report.window,
        patience: job.stop.patience,
        keeps_best: job.checkpoint.best,
        drift: job.drift.clone(),
        alarm_steps: job.flow.window + job.report.fetch_steps.unwrap_or(FETCH_STEPS),
        learns_unlabelled: !opened.method.views().student.is_empty(),
        remedy: Remedy {
            threshold: job.method.options.contains_key("threshold"),
            gate: opened.effective.gate.is_some(),
        },
        for_ledger: opened.effective.retain.is_some(),
    })
}

/// Builds the stage that writes checkpoints.
pub fn store(opened: &Opened, folder: Option<StateFolder>, controls: Controls) -> Result<Store> {
    let Opened { job, effective, format, .. } = opened;
    let resolved = serde_json::to_value(job).map_err(Error::request)?;
    let effective = serde_json::to_value(effective).map_err(Error::request)?;
    let saved = SavedJob::new(&job.resolved(), resolved, effective, format.clone());
    let log = opened.ingest().map(|live| live.ingest.log().clone());
    if let (Some(log), true) = (&log, folder.is_some()) {
        log.expect_checkpoint(checkpoint_bytes(opened));
        log.shortage(); // says now if the disk is short
    }
    Ok(Store::new(folder, job.checkpoint.keep, saved, log, controls))
}

/// Returns the size of the next checkpoint: that of the one before, or an estimate from the model.
fn checkpoint_bytes(opened: &Opened) -> u64 {
    if let Some(saved) = &opened.saved {
        return saved.bytes();
    }
    let layout = opened.model.layout();
    let parameters: i64 = layout.parameters.iter().map(Slot::len).sum();
    let weights = 4 * (parameters + layout.buffer_count()) as u64;
    // Student, model file, at most two moments of the optimiser, and the teacher's versions in flight.
    weights * (4 + opened.job.teacher.lag)
}
