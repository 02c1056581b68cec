//! Folds step results into the reports of epochs and the summary of the job.

pub mod busy;
mod counts;
mod epoch;
mod evaluator;
mod future;
mod phases;
pub mod readback;
mod recent;
mod recovery;
mod summary;

use crate::engine::drift::{Action, Detector, Drift};
use crate::engine::metrics::readback::{DeviceQueue, Readback, StepSum};
use busy::Busy;
pub use counts::{Counts, wilson};
use epoch::{Epoch, Setting, confusion};
pub use evaluator::Evaluator;
use future::NearFuture;
use phases::ByPhase;
use recent::Recent;
use recovery::Recovery;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::observers::{Event, Observers};
use sluicebox_core::report::ledger;
use sluicebox_core::report::ledger::LedgerReport;
use sluicebox_core::report::pipeline::STAGES;
use sluicebox_core::report::progress::ProgressCounter;
use sluicebox_core::report::{Cell, Report};
use sluicebox_core::state::Section;
use sluicebox_core::step::{LedgerInput, NearFutureTest};
use sluicebox_core::system as machine;
use sluicebox_core::system::Gpu;
use sluicebox_learn::device;
use sluicebox_learn::messages::{StepResult, Weights};
use sluicebox_observe::gallery::Gallery;
use sluicebox_stream::sink::Sink;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
pub use summary::Summary;

/// The reporter's section of a snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Counts of the whole job, without the current epoch.
    pub job: Counts,
    /// Counts of the current epoch.
    pub epoch: Counts,
    /// Accuracy over the newest samples.
    pub recent: Recent,
    /// Drift detector.
    pub drift: Detector,
    /// Future steps at whose start replay weights decay.
    pub reweights: Vec<u64>,
    /// Accuracy on earlier phases.
    pub by_phase: ByPhase,
    /// Near-future accuracy.
    pub future: NearFuture,
    /// Recovery after the newest change of the stream.
    pub recovery: Recovery,
    /// Phase changes up to the newest sample.
    pub visit: u64,
    /// Samples of the stream whose results were read back.
    pub streamed: u64,
    /// Epochs reported.
    pub epochs: u64,
    /// Accuracy at the last evaluation.
    pub accuracy: Option<f64>,
    /// Labelled samples in the replay buffer.
    pub labels_known: u64,
    /// State of each sink, by its name.
    pub sinks: BTreeMap<String, Vec<u8>>,
}

/// Index of `report` in [`STAGES`].
const REPORT: usize = STAGES.len() - 1;

/// Settings of a reporter.
#[derive(Debug, Clone)]
pub struct ReportPlan {
    /// Kinds of the job's sources.
    pub sources: Vec<String>,
    /// Steps per epoch.
    pub epoch_steps: u64,
    /// `flow.window`: most steps in flight.
    pub window: u64,
    /// Steps per readback from the device.
    pub fetch_steps: u64,
    /// `report.window`: newest samples with a known class over which accuracy is also reported.
    pub recent: u64,
    /// Settings of the drift detector.
    pub drift: Drift,
    /// Fixed delay, in steps, between a drift alarm and the decay of replay weights: at least as long as the
    /// feedback to the source takes, and constant, so that a resumed run reacts at the same step.
    pub alarm_steps: u64,
    /// The job has a ledger, which needs the facts of each step.
    pub for_ledger: bool,
}

/// Outputs of a job.
#[derive(Default)]
pub struct Outputs {
    /// Outputs that receive the prediction of each sample.
    pub sinks: Vec<Box<dyn Sink>>,
    /// Observers, which receive the report of each epoch.
    pub observers: Observers,
    /// Progress of the job.
    pub clock: Arc<ProgressCounter>,
    /// Thumbnails, if a page shows them.
    pub gallery: Option<Gallery>,
}

/// Folds step results and sends them to the outputs. One per job.
pub struct Reporter {
    evaluator: Evaluator,
    audience: Outputs,
    schedule: ReportPlan,
    /// The ledger or a sink needs the pseudo-label of each sample.
    each_sample: bool,
    state: State,
    late_labels: u64,
    pending: DeviceQueue,
    epoch: Epoch,
    busy: Rc<RefCell<Busy>>,
    gpu: Option<Gpu>,
    /// When the newest checkpoint was written, and the seconds that took.
    checkpoint: Option<(Instant, Duration)>,
}

impl Reporter {
    /// Returns a reporter that resumes from `state`.
    pub fn new(evaluator: Evaluator, audience: Outputs, schedule: ReportPlan, state: State) -> Self {
        Self {
            gpu: device::gpu(evaluator.compute.device),
            evaluator,
            each_sample: schedule.for_ledger || !audience.sinks.is_empty(),
            audience,
            schedule,
            late_labels: 0,
            epoch: Epoch::new(state.epoch.clone()),
            state,
            pending: DeviceQueue::default(),
            busy: Rc::default(),
            checkpoint: None,
        }
    }

    /// The counts so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where `flow` records how long operators were scheduled.
    pub fn busy(&self) -> Rc<RefCell<Busy>> {
        self.busy.clone()
    }

    /// Late labels over the job.
    pub fn late_labels(&self) -> u64 {
        self.late_labels
    }

    /// Reports the end of the job, so that observers can finish.
    pub fn end(&self) {
        self.audience.clock.end();
        self.audience.observers.end();
    }

    /// Records that a checkpoint was written.
    pub fn committed(&mut self, took: Duration) {
        self.checkpoint = Some((Instant::now(), took));
    }

    /// Takes in a step result. Also returns the facts read back with it, if a ledger needs them: those of
    /// this step and of some steps before it.
    pub fn absorb(&mut self, mut outcome: StepResult) -> Result<(StepResult, Vec<LedgerInput>)> {
        let began = Instant::now();
        self.epoch.add(&mut outcome);
        self.test_ahead(&mut outcome);
        let info = &mut outcome.info;
        if !info.barrier {
            self.state.labels_known = outcome.labels_known;
        }
        if let Some(gallery) = &mut self.audience.gallery {
            let (judged, labelled) = info.picks.drain(..).partition(|pick| pick.at.is_some());
            info.picks = judged;
            gallery.expect(labelled);
        }
        self.pending.add(&mut outcome, self.each_sample);
        let info = &outcome.info;
        let full = self.pending.counts.steps >= self.schedule.fetch_steps;
        let due = full || info.ends_epoch || info.snapshot.is_some();
        let next = info.step + u64::from(!info.barrier);
        let (facts, reweights) = if due { self.fetch(next)? } else { Default::default() };
        self.state.reweights.retain(|step| *step >= next);
        self.state.reweights.extend(&reweights);
        outcome.reweights = reweights;
        let done = self.state.epoch.steps + self.pending.counts.steps;
        self.audience.clock.step(self.state.epochs + 1, done, self.schedule.epoch_steps);
        let ended = outcome.info.ends_epoch && self.state.epoch.steps > 0;
        if ended {
            let teacher = outcome.teacher.take();
            if !outcome.info.barrier {
                self.look_ahead(&outcome.info.ahead, teacher.as_ref())?;
            }
            outcome.report = Some(Box::new(self.end_epoch(teacher, began)?));
        }
        if let Some(snapshot) = &mut outcome.info.snapshot {
            for sink in &mut self.audience.sinks {
                self.state.sinks.insert(sink.name(), sink.save()?);
            }
            let state = bincode::serialize(&self.state);
            let state = state.map_err(|error| Error::Engine(error.to_string()))?;
            snapshot.sections.put(Section::Report, state);
        }
        if !ended {
            self.epoch.stage_s[REPORT] += began.elapsed().as_secs_f64();
        }
        Ok((outcome, facts))
    }

    /// Sends the report of an epoch's end to the observers and completes a snapshot, once the ledger's
    /// account of the step has arrived (if there is a ledger).
    pub fn tell(&mut self, mut outcome: StepResult, account: Option<LedgerReport>) -> Result<StepResult> {
        let mut report = outcome.report.take();
        if let Some(mut account) = account {
            self.late_labels = account.ledger_stats.labels.late;
            if let (Some(snapshot), Some(state)) = (&mut outcome.info.snapshot, account.state.take()) {
                snapshot.sections.put(Section::Ledger, state);
            }
            if let Some(report) = &mut report {
                if let Some(gallery) = &mut self.audience.gallery {
                    gallery.disagree(report.epoch, &account.newest);
                }
                tell_of_labels(report, account);
            }
        }
        if let Some(mut report) = report {
            self.tell_of_machine(&mut report);
            self.audience.observers.tell(&Event::Epoch(Arc::new(*report)));
        }
        Ok(outcome)
    }

    /// Reads back and counts the results of the steps before `next`, and sends the predictions to the sinks.
    /// Returns their facts and the steps at whose start replay weights decay.
    fn fetch(&mut self, next: u64) -> Result<(Vec<LedgerInput>, Vec<u64>)> {
        let Readback { counts, steps, facts, thumbnails } = std::mem::take(&mut self.pending).fetch()?;
        self.state.epoch.add(&counts);
        let first = next - steps.len() as u64;
        let alarms: Vec<u64> =
            (first..).zip(&steps).filter_map(|(at, step)| self.follow(step).then_some(at)).collect();
        let epoch = self.state.epochs + 1;
        if let Some(gallery) = &mut self.audience.gallery {
            thumbnails.into_iter().for_each(|mut thumbnail| {
                thumbnail.epoch = epoch;
                gallery.hang(thumbnail);
            });
        }
        let names = &self.evaluator.format.classes;
        for sink in &mut self.audience.sinks {
            facts.iter().try_for_each(|facts| sink.predictions(&facts.rows, names))?;
        }
        let reweights = self.schedule.drift.action == Action::Reweight;
        let alarms = alarms.into_iter().filter(|_| reweights);
        Ok((facts, alarms.map(|step| step + self.schedule.alarm_steps).collect()))
    }

    /// Takes in the sums of the next step. Returns whether the drift detector raised an alarm.
    fn follow(&mut self, step: &StepSum) -> bool {
        let ReportPlan { recent: window, drift, .. } = &self.schedule;
        let state = &mut self.state;
        state.streamed += step.samples;
        let visit =
            self.evaluator.phases.as_ref().map(|phases| phases.visit(state.streamed.saturating_sub(1)));
        if visit.is_some_and(|visit| visit != state.visit) {
            state.recovery.changed(state.recent.accuracy());
        }
        let Some(confidence) = step.confidence else { return false };
        let alarm = state.drift.add(drift, confidence, &step.features);
        if alarm && visit.is_none() {
            state.recovery.noticed();
        }
        state.visit = visit.unwrap_or(0);
        state.recent.add(step.known, step.right, *window);
        state.recovery.add(step.known, step.right, *window);
        state.recovery.level(state.recent.accuracy());
        alarm
    }

    /// Keeps the teacher of an epoch's end if a near-future test is due for it.
    fn look_ahead(&mut self, ahead: &NearFutureTest, teacher: Option<&Weights>) -> Result<()> {
        self.state.future.set_shift(ahead.shift);
        match teacher.filter(|_| ahead.keep && self.evaluator.every_epochs > 0) {
            Some(weights) => self.state.future.keep(weights),
            None => Ok(()),
        }
    }

    /// Runs the near-future test on the step's samples, if a teacher awaits it.
    fn test_ahead(&mut self, outcome: &mut StepResult) {
        let Some(probe) = outcome.info.ahead.probe.take() else { return };
        if let Some(weights) = self.state.future.take(&probe, self.evaluator.compute.device) {
            let (tested, right) = self.evaluator.test(&weights, &probe);
            self.state.future.add(right, tested);
        }
    }

    fn end_epoch(&mut self, teacher: Option<Weights>, began: Instant) -> Result<Report> {
        let counts = std::mem::take(&mut self.state.epoch);
        self.state.job.add(&counts);
        self.state.epochs += 1;
        let trained_s = self.epoch.began.elapsed().as_secs_f64().max(1e-9);
        let every = self.evaluator.every_epochs;
        let due = every > 0 && self.state.epochs.is_multiple_of(every);
        let found = teacher
            .filter(|_| due)
            .and_then(|weights| self.evaluator.evaluate(&weights, self.state.job.samples));
        let (evaluation, by_phase) = found.unzip();
        if let Some(accuracy) = &by_phase {
            let last = self.state.job.samples.saturating_sub(1);
            let phases = self.evaluator.phases.as_ref();
            let (visit, phase) = phases.map_or((0, 0), |phases| (phases.visit(last), phases.at(last)));
            self.state.by_phase.add(visit, phase, accuracy);
        }
        self.state.accuracy = evaluation.as_ref().map(|found| found.accuracy).or(self.state.accuracy);
        self.epoch.stage_s[REPORT] += began.elapsed().as_secs_f64();
        let setting = Setting {
            classes: &self.evaluator.format.classes,
            sources: &self.schedule.sources,
            window: self.schedule.window,
            trained_s,
            evaluation: evaluation.as_ref(),
            phases: self.evaluator.phases.as_ref(),
            by_phase: by_phase.as_deref().unwrap_or_default(),
            busy: &self.busy.take(),
        };
        let report = self.epoch.report(&counts, &self.state, &setting)?;
        self.epoch = self.epoch.next();
        Ok(report)
    }

    fn tell_of_machine(&self, report: &mut Report) {
        let job = &mut report.job;
        job.checkpoint_age_seconds = self.checkpoint.map(|(written, _)| written.elapsed().as_secs_f64());
        job.checkpoint_seconds = self.checkpoint.map(|(_, took)| took.as_secs_f64());
        job.resident_memory_mib = machine::resident_mib();
        job.gpu_memory_mib = self.gpu.as_ref().and_then(Gpu::memory_mib);
        job.gpu_busy_fraction = self.gpu.as_ref().and_then(Gpu::busy);
        job.reports_dropped = Some(self.audience.observers.dropped() as f64);
    }

    /// Counts of the whole job, with the current epoch.
    pub fn total(&self) -> Counts {
        let mut total = self.state.job.clone();
        total.add(&self.state.epoch);
        total
    }
}

/// Adds the ledger's account to a report.
fn tell_of_labels(report: &mut Report, account: LedgerReport) {
    let cells = account.confusion.iter().map(|((truth, given), cell)| Cell {
        truth: *truth,
        given: *given,
        samples: cell.all,
        accepted: cell.accepted,
    });
    report.confusions.extend(confusion("labels", cells));
    let ledger_stats = &account.ledger_stats;
    let interval = wilson(ledger_stats.accepted_right, ledger_stats.accepted_met);
    let mut accepted = vec![(0, 0); ledger_stats.pseudo.len()];
    for ((truth, given), cell) in &account.confusion {
        let (met, right) = &mut accepted[*given as usize];
        *met += cell.accepted;
        *right += if truth == given { cell.accepted } else { 0 };
    }
    if report.classes.len() == accepted.len() {
        let known = accepted.into_iter().zip(&ledger_stats.pseudo);
        for (class, ((met, right), pseudo)) in report.classes.iter_mut().zip(known) {
            class.meters.pseudo_labels = Some(*pseudo as f64);
            class.meters.ledger_precision = counts::share(right, met);
        }
    }
    let found = ledger::Report::new(account);
    let job = &mut report.job;
    job.late_labels = Some(found.labels.late as f64);
    job.ledger_precision = found.precision;
    job.ledger_precision_low = interval.map(|(low, _)| low);
    job.ledger_precision_high = interval.map(|(_, high)| high);
    job.coverage = found.coverage;
    job.ledger_accuracy = found.accuracy;
    job.label_delay_samples = found.label_delay.map(|delay| delay as f64);
    job.prior_divergence = found.prior_divergence;
    report.ledger = Some(found);
}
