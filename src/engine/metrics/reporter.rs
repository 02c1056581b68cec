//! The report stage: adds up step results, reads them back from the device every few steps, and makes the
//! report of each epoch.

use crate::engine::drift::Action;
use crate::engine::metrics::best::Best;
use crate::engine::metrics::busy::Busy;
use crate::engine::metrics::counts::Counts;
use crate::engine::metrics::epoch::Epoch;
use crate::engine::metrics::evaluator::Evaluator;
use crate::engine::metrics::gate_mark::gate_closed;
use crate::engine::metrics::network::Evaluated;
use crate::engine::metrics::phases::During;
use crate::engine::metrics::plan::{Outputs, ReportPlan};
use crate::engine::metrics::publish::Publisher;
use crate::engine::metrics::readback::{DeviceQueue, Fetch, Readback, StepSum};
use crate::engine::metrics::reported::Reported;
use crate::engine::metrics::state::State;
use crate::engine::metrics::tables::Setting;
use sluicebox_core::controls::Controls;
use sluicebox_core::error::Result;
use sluicebox_core::report::ledger::LedgerReport;
use sluicebox_core::report::progress::ProgressCounter;
use sluicebox_core::report::thumbnail::Thumbnail;
use sluicebox_core::report::{MarkKind, Report};
use sluicebox_core::step::{LedgerInput, Snapshot, StepInfo};
use sluicebox_core::step_notes::{NearFutureTest, StepNotes};
use sluicebox_learn::adapt::correction::PriorCorrection;
use sluicebox_learn::device;
use sluicebox_learn::evaluation::Evaluation;
use sluicebox_learn::messages::{CorrectedTeacher, StepResult};
use sluicebox_learn::stages::effort::Efforts;
use sluicebox_learn::standardise::Scale;
use sluicebox_observe::gallery::Gallery;
use sluicebox_stream::sink::Sink;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Adds up step results, makes reports and sends them to the outputs. One per job.
pub struct Reporter {
    evaluator: Evaluator,
    plan: ReportPlan,
    sinks: Vec<Box<dyn Sink>>,
    progress: Arc<ProgressCounter>,
    gallery: Option<Gallery>,
    publisher: Publisher,
    /// The ledger or a sink needs the prediction of each sample.
    each_sample: bool,
    state: State,
    controls: Controls,
    /// Step results that are still on the device.
    queue: DeviceQueue,
    /// Step results that are on their way to the host.
    fetched: Option<Fetch>,
    epoch: Epoch,
    /// Classes for which the gate was closed at the last epoch's end; none where that is not known.
    closed: Option<Vec<usize>>,
    busy: Rc<RefCell<Busy>>,
    /// What the workers do, in jobs that have several.
    pub efforts: Efforts,
}

impl Reporter {
    /// Returns a reporter that resumes from `state`.
    pub fn new(evaluator: Evaluator, outputs: Outputs, plan: ReportPlan, state: State) -> Self {
        let Outputs { sinks, observers, progress, gallery, controls } = outputs;
        let reporter = Self {
            publisher: Publisher::new(observers, device::gpu(evaluator.compute.device), state.epochs),
            closed: (state.epochs == 0).then(Vec::new),
            evaluator,
            each_sample: plan.for_ledger || !sinks.is_empty(),
            plan,
            sinks,
            progress,
            gallery,
            epoch: Epoch::new(state.epoch.clone()),
            state,
            controls,
            queue: DeviceQueue::default(),
            fetched: None,
            busy: Rc::default(),
            efforts: Efforts::default(),
        };
        reporter.end_if_it_gets_no_better();
        reporter
    }

    /// The counts so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Counts of the whole job, with the current epoch.
    pub fn total(&self) -> Counts {
        let mut total = self.state.job.clone();
        total.add(&self.state.epoch);
        total
    }

    /// Where `flow` records how long operators were scheduled.
    pub fn busy(&self) -> Rc<RefCell<Busy>> {
        self.busy.clone()
    }

    /// Late labels over the job.
    pub fn late_labels(&self) -> u64 {
        self.publisher.late_labels()
    }

    /// Returns whether the job has ended because it no longer got better.
    pub fn has_ended_early(&self) -> bool {
        self.controls.end().is_some()
    }

    /// Tells the observers that the job ends by an error.
    pub fn failed(&self, error: &str) {
        let total = self.total();
        self.publisher.mark(MarkKind::Failure, self.state.epochs + 1, total.steps, error.into());
    }

    /// Reports the end of the job, so that observers can finish.
    pub fn end(&self) {
        self.progress.end();
        self.publisher.end();
    }

    /// Records that a checkpoint was written, if it was, and the number of those that could not be.
    pub fn committed(&mut self, took: Option<Duration>, failures: u64) {
        self.publisher.committed(took, failures);
    }

    /// Sends the report of an epoch's end to the observers and returns the step's snapshot, completed with
    /// the state in `ledger_report`.
    pub fn publish(
        &mut self,
        reported: Reported,
        ledger_report: Option<LedgerReport>,
    ) -> Option<Box<Snapshot>> {
        self.publisher.publish(reported, ledger_report, self.gallery.as_mut())
    }

    /// Adds a step result. Also returns the ledger's input that was read back with it, by step: that of this
    /// step and of some steps before it, if a ledger or a sink needs the predictions.
    pub fn add(&mut self, mut result: StepResult) -> Result<(Reported, Vec<(u64, LedgerInput)>)> {
        let began = Instant::now();
        self.epoch.add(&mut result);
        self.test_near_future(&mut result.info.notes, result.scale.take());
        if !result.info.barrier {
            self.state.labels_known = result.info.notes.labels_known;
            self.add_unfit(result.info.step, result.info.notes.unfit);
        }
        if let Some(gallery) = &mut self.gallery {
            let candidates = &mut result.info.notes.candidates;
            let (streamed, labelled) = candidates.drain(..).partition(|candidate| candidate.at.is_some());
            *candidates = streamed;
            gallery.keep_labelled(labelled);
        }
        self.queue.add(&mut result, self.each_sample);
        let StepResult { mut info, teacher, .. } = result;
        let next = info.step + u64::from(!info.barrier);
        let (ledger_inputs, decay_replay_at) =
            self.fetch(next, info.ends_epoch || info.ends_phase || info.snapshot.is_some())?;
        self.state.decay_replay_at.retain(|step| *step >= next);
        self.state.decay_replay_at.extend(&decay_replay_at);
        let fetched = self.fetched.as_ref().map_or(0, Fetch::steps);
        let done = self.state.epoch.steps + fetched + self.queue.steps();
        self.progress.step(self.state.epochs + 1, done, self.plan.epoch_steps);
        let mut report = None;
        let phase_end = self.phase_end(&info);
        if info.ends_epoch && self.state.epoch.steps > 0 {
            if !info.barrier {
                self.keep_for_near_future(&info.notes.near_future, teacher.as_ref())?;
            }
            report = Some(Box::new(self.end_epoch(teacher, phase_end, began)?));
        } else if let (Some(end), Some(teacher)) = (phase_end, teacher) {
            self.evaluate(&teacher, end, true);
        }
        if let (Some(report), false) = (&report, info.barrier) {
            let is_best = self.judge(report, next) && self.plan.keeps_best;
            info.snapshot.iter_mut().for_each(|snapshot| snapshot.is_best = is_best);
        }
        if let Some(snapshot) = &mut info.snapshot {
            if self.state.skipped.is_suspect(info.barrier) {
                snapshot.not_finite = snapshot.not_finite.or(Some("the newest loss or gradient"));
            }
            for sink in &mut self.sinks {
                self.state.sinks.insert(sink.name(), sink.save()?);
            }
            self.state.save_into(&mut snapshot.sections)?;
        }
        if report.is_none() {
            self.epoch.stage_s.add("report", began.elapsed().as_secs_f64());
        }
        let ledger_inputs = ledger_inputs.into_iter().map(|input| (input.step, input)).collect();
        Ok((Reported { info, report, decay_replay_at }, ledger_inputs))
    }

    /// Compares the evaluation in a report after `steps`, if there was one, with the best before. Returns whether it is
    /// better.
    fn judge(&mut self, report: &Report, steps: u64) -> bool {
        let Some(accuracy) = report.job.accuracy else { return false };
        let is_best = Best::take(&mut self.state.best, accuracy, self.state.epochs, steps);
        self.end_if_it_gets_no_better();
        is_best
    }

    /// Ends the job if no evaluation has been better for as long as `stop.patience` says.
    fn end_if_it_gets_no_better(&self) {
        let (patience, window) = (self.plan.patience, self.plan.window);
        let Some(best) = self.state.best else { return };
        let Some(end) = best.end(patience, window) else { return };
        if self.controls.end().is_none() {
            tracing::info!(
                "no evaluation was better than {:.2} % after epoch {} for stop.patience = {patience} epochs: the job ends",
                100.0 * best.accuracy,
                best.epoch
            );
        }
        self.controls.end_at(end);
    }

    /// Reads the results that were fetched a step ago, and fetches those of the steps before `next` if there are
    /// enough of them. If `all`, none stays on the device. Returns the ledger's input for the steps that were read,
    /// and the steps at whose start replay weights decay.
    fn fetch(&mut self, next: u64, all: bool) -> Result<(Vec<LedgerInput>, Vec<u64>)> {
        let (mut ledger_inputs, mut decay_replay_at) = (Vec::new(), Vec::new());
        let mut due = Vec::from_iter(self.fetched.take());
        if all || self.queue.steps() >= self.plan.schedule.steps {
            let fetch = std::mem::take(&mut self.queue).fetch(next)?;
            match all || self.plan.schedule.later == 0 {
                true => due.push(fetch),
                false => self.fetched = Some(fetch),
            }
        }
        for fetch in due {
            let (inputs, steps) = self.count(fetch.read()?)?;
            ledger_inputs.extend(inputs);
            decay_replay_at.extend(steps);
        }
        Ok((ledger_inputs, decay_replay_at))
    }

    /// Counts the results of steps and sends the predictions to the sinks. Returns the ledger's input for these
    /// steps, and the steps at whose start replay weights decay.
    fn count(&mut self, readback: Readback) -> Result<(Vec<LedgerInput>, Vec<u64>)> {
        let Readback {
            next,
            counts,
            network,
            disagreed,
            corrected,
            steps,
            unjudged,
            ledger_inputs,
            thumbnails,
        } = readback;
        self.state.epoch.add(&counts);
        self.epoch.add_disagreed(disagreed);
        self.epoch.add_corrected(corrected);
        self.state.network.epoch.add(network);
        self.state.filter_alarm.add_unjudged(unjudged);
        let first = next - steps.len() as u64;
        (first..).zip(&steps).try_for_each(|(step, sum)| self.state.skipped.add(step, sum.outcome))?;
        let alarms: Vec<bool> = (first..).zip(&steps).map(|(at, step)| self.detect_drift(at, step)).collect();
        steps.iter().zip(&alarms).for_each(|(step, alarm)| self.track(step, *alarm));
        let epoch = self.state.epochs + 1;
        if let Some(gallery) = &mut self.gallery {
            thumbnails.into_iter().for_each(|found| gallery.add(Thumbnail { epoch, ..found }));
        }
        let names = &self.evaluator.format.classes;
        for sink in &mut self.sinks {
            ledger_inputs.iter().try_for_each(|input| sink.predictions(&input.rows, names))?;
        }
        let decays = self.plan.drift.action == Action::Reweight;
        let alarms = (first..).zip(alarms).filter(|(_, alarm)| decays && *alarm);
        Ok((ledger_inputs, alarms.map(|(step, _)| step + self.plan.alarm_steps).collect()))
    }

    /// Hands the sums of step `at` to the drift detector. Returns whether it raises an alarm.
    fn detect_drift(&mut self, at: u64, step: &StepSum) -> bool {
        let Some(confidence) = step.confidence else { return false };
        let moved = self.state.drift.add(&self.plan.drift, confidence, &step.features);
        if let Some(moved) = moved {
            self.publisher.mark(MarkKind::Drift, self.state.epochs + 1, at + 1, moved.into());
        }
        moved.is_some()
    }

    /// Adds the sums of the next step to the numbers that follow the newest samples. `alarm`: whether the
    /// drift detector raised an alarm at this step.
    fn track(&mut self, step: &StepSum, alarm: bool) {
        let window = self.plan.recent;
        let state = &mut self.state;
        state.streamed += step.samples;
        let phases = self.evaluator.phases.as_ref();
        let visit = phases.map(|phases| phases.visit(state.streamed.saturating_sub(1)));
        if visit.is_some_and(|visit| visit != state.visit) {
            state.recovery.changed(state.recent.accuracy());
        }
        if step.confidence.is_none() {
            return;
        }
        if alarm && visit.is_none() {
            state.recovery.noticed();
        }
        state.visit = visit.unwrap_or(0);
        state.recent.add(step.known, step.right, window);
        state.recovery.add(step.known, step.right, window);
        state.recovery.level(state.recent.accuracy());
    }

    /// Keeps the teacher of an epoch's end if a near-future test is due for it.
    fn keep_for_near_future(
        &mut self,
        test: &NearFutureTest,
        teacher: Option<&CorrectedTeacher>,
    ) -> Result<()> {
        self.state.future.set_shift(test.shift);
        match teacher.filter(|_| test.keep && self.evaluator.every_epochs > 0) {
            Some(teacher) => self.state.future.keep(&teacher.weights),
            None => Ok(()),
        }
    }

    /// Runs the near-future test on the step's samples, which `scale` standardises, if a teacher awaits it.
    fn test_near_future(&mut self, notes: &mut StepNotes, scale: Option<Scale>) {
        let Some(probe) = notes.near_future.probe.take() else { return };
        if let Some(weights) = self.state.future.take(&probe, self.evaluator.compute.device) {
            let (tested, right) = self.evaluator.test(weights, scale, &probe);
            self.state.future.add(right, tested);
        }
    }

    /// Returns the position at which a phase ends within a step, if one does.
    fn phase_end(&self, info: &StepInfo) -> Option<u64> {
        let phases = self.evaluator.phases.as_ref().filter(|_| info.ends_phase)?;
        let from = info.notes.position;
        phases.end_within(from, from + info.ids.len() as u64)
    }

    /// Evaluates a teacher on the held-out samples as they are after `streamed` samples, where a phase ends if
    /// `ends_phase`. Does nothing in jobs that never evaluate.
    fn evaluate(
        &mut self,
        teacher: &CorrectedTeacher,
        streamed: u64,
        ends_phase: bool,
    ) -> Option<(Evaluation, Vec<Option<f64>>)> {
        let evaluator = Some(&self.evaluator).filter(|evaluator| evaluator.every_epochs > 0)?;
        let (evaluation, by_phase) = evaluator.evaluate(teacher, streamed)?;
        let last = streamed.saturating_sub(1);
        let phases = evaluator.phases.as_ref();
        let (visit, phase) = phases.map_or((0, 0), |phases| (phases.visit(last), phases.at(last)));
        self.state.by_phase.add(During { visit, phase, ends: ends_phase }, &by_phase);
        Some((evaluation, by_phase))
    }

    /// Counts samples of a step that are not learned from, as a value is too large.
    fn add_unfit(&mut self, step: u64, count: u64) {
        if self.state.unfit == 0 && count > 0 {
            tracing::warn!(
                "step {step}: a sample has a value above 1e15, and is not learned from; further ones are counted \
                 (unfit_samples)"
            );
        }
        self.state.unfit += count;
    }

    /// Raises an alarm where the filter of an epoch with these counts did not judge, and where a class is gone.
    fn watch_filter(&mut self, counts: &Counts) {
        let (epoch, learns) = (self.state.epochs, self.plan.learns_unlabelled);
        let has_threshold = self.epoch.has_threshold();
        let classes = &self.evaluator.format.classes;
        let remedy = self.plan.remedy;
        let judges = (learns && has_threshold, remedy);
        let alarms = self.state.class_alarm.end_epoch(epoch, counts, judges, classes);
        let filter = match learns {
            true => self.state.filter_alarm.end_epoch(epoch, counts, (has_threshold, remedy), classes),
            false => None,
        };
        for alarm in alarms.into_iter().chain(filter) {
            tracing::warn!("{alarm}");
            self.publisher.mark(MarkKind::Alarm, epoch, self.state.job.steps, alarm);
        }
        let closed = self.epoch.closed_classes();
        let before = std::mem::replace(&mut self.closed, closed.clone());
        if let (Some(closed), Some(before)) = (closed, before)
            && let Some(text) = gate_closed(&closed, &before, classes)
        {
            self.publisher.mark(MarkKind::Gate, epoch, self.state.job.steps, text);
        }
    }

    /// Ends the epoch: evaluates its teacher if that is due, and returns the epoch's report. `phase_end`: where a
    /// phase ends within the epoch's last step.
    fn end_epoch(
        &mut self,
        teacher: Option<CorrectedTeacher>,
        phase_end: Option<u64>,
        began: Instant,
    ) -> Result<Report> {
        let counts = std::mem::take(&mut self.state.epoch);
        self.state.job.add(&counts);
        let network = std::mem::take(&mut self.state.network.epoch);
        self.state.network.job.add(network);
        self.state.epochs += 1;
        let trained_s = self.epoch.began.elapsed().as_secs_f64().max(1e-9);
        let (every, streamed) = (self.evaluator.every_epochs, self.state.job.samples);
        let due = every > 0 && self.state.epochs.is_multiple_of(every);
        let with_phase = due && phase_end == Some(streamed);
        if let (Some(end), Some(teacher), false) = (phase_end, &teacher, with_phase) {
            self.evaluate(teacher, end, true);
        }
        let correction = teacher.as_ref().and_then(|teacher| teacher.correction.as_ref());
        let shares = correction.map(PriorCorrection::answer_shares);
        let teacher = teacher.filter(|_| due);
        let found = teacher.and_then(|teacher| self.evaluate(&teacher, streamed, with_phase));
        let (evaluation, by_phase) = found.unzip();
        if let Some(count) = evaluation.as_ref().map(|found| found.not_finite).filter(|count| *count > 0) {
            let epoch = self.state.epochs;
            tracing::warn!(
                "epoch {epoch}: for {count} held-out samples the answer is not finite: they count as wrong"
            );
        }
        if let Some(found) = &evaluation {
            self.state.accuracy = Some(found.accuracy);
            let (accuracy, steps) = (found.network_accuracy, self.state.job.steps);
            self.state.network.evaluated = Some(Evaluated { accuracy, steps });
        }
        self.watch_filter(&counts);
        self.epoch.stage_s.add("report", began.elapsed().as_secs_f64());
        let setting = Setting {
            classes: &self.evaluator.format.classes,
            sources: &self.plan.sources,
            window: self.plan.window,
            trained_s,
            evaluation: evaluation.as_ref(),
            shares: shares.as_ref(),
            phases: self.evaluator.phases.as_ref(),
            by_phase: by_phase.as_deref().unwrap_or_default(),
            busy: &self.busy.take(),
            efforts: &self.efforts.take(),
        };
        let report = self.epoch.report((&counts, network), &self.state, &setting)?;
        self.state.skipped.epoch = 0;
        self.epoch = self.epoch.next();
        Ok(report)
    }
}
