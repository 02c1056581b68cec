//! The current epoch: its values besides the counts, and the report made of it at its end.

use crate::engine::metrics::busy::Busy;
use crate::engine::metrics::counts::{Counts, share};
use crate::engine::metrics::network::Predictions;
use crate::engine::metrics::state::State;
use crate::engine::metrics::tables::{Setting, classes, confusions, phases, reasons, workers};
use sluicebox_core::error::Result;
use sluicebox_core::report::pipeline::{Counted, PIPELINE, Stage, StageSeconds};
use sluicebox_core::report::{JobMeters, Named, OperatorMeters, Report, SourceMeters, distinct};
use sluicebox_core::step_notes::{StepNotes, Waits};
use sluicebox_core::system::now_ms;
use sluicebox_learn::adapt::learned::Kind;
use sluicebox_learn::messages::StepResult;
use sluicebox_learn::pseudo_labels::Estimate;
use sluicebox_learn::torch::TorchResult;
use std::time::Instant;
use tch::{Device, Tensor};

/// The current epoch in this process.
pub struct Epoch {
    /// When the epoch began in this process.
    pub began: Instant,
    /// Counts of this epoch made before a restart.
    before: Counts,
    /// Seconds spent in each stage.
    pub stage_s: StageSeconds,
    waits: Waits,
    /// Sum over steps of the steps in flight.
    in_flight: u64,
    dead_letters: Vec<u64>,
    lags: Vec<Option<u64>>,
    reasons: Vec<(String, u64)>,
    learning_rate: f64,
    threshold: Option<Tensor>,
    gate: Option<Vec<Estimate>>,
    arrived_before: Option<u64>,
    /// Samples for which the job's two networks disagreed, and all that both judged, in this process.
    disagreed: [u64; 2],
    /// Labelled samples learned with another class than their label, in this process; none where labels are not corrected.
    corrected: Option<u64>,
}

impl Epoch {
    /// Returns an epoch that starts now, of which `before` is already done.
    pub fn new(before: Counts) -> Self {
        Self {
            began: Instant::now(),
            before,
            stage_s: StageSeconds::default(),
            waits: Waits::default(),
            in_flight: 0,
            dead_letters: Vec::new(),
            lags: Vec::new(),
            reasons: Vec::new(),
            learning_rate: 0.0,
            threshold: None,
            gate: None,
            arrived_before: None,
            disagreed: [0, 0],
            corrected: None,
        }
    }

    /// Adds samples for which the two networks disagree, and all that both judged.
    pub fn add_disagreed(&mut self, [disagreed, judged]: [u64; 2]) {
        self.disagreed = [self.disagreed[0] + disagreed, self.disagreed[1] + judged];
    }

    /// Adds labelled samples that are learned with another class than their label.
    pub fn add_corrected(&mut self, corrected: Option<u64>) {
        self.corrected =
            corrected.map(|corrected| self.corrected.unwrap_or(0) + corrected).or(self.corrected);
    }

    /// Returns the epoch after this one.
    pub fn next(&self) -> Self {
        let dead_letters = self.dead_letters.clone();
        Self { dead_letters, arrived_before: self.waits.arrived, ..Self::new(Counts::default()) }
    }

    /// Takes in a step result.
    pub fn add(&mut self, result: &mut StepResult) {
        let StepNotes { stage_s, waits, dead_letters, lags, reasons, .. } = &mut result.info.notes;
        self.stage_s.add_all(stage_s);
        self.waits.starved_s += waits.starved_s;
        self.waits.credit_s += waits.credit_s;
        self.waits.paused_s += waits.paused_s;
        self.waits.log_fill = waits.log_fill;
        self.waits.arrived = waits.arrived;
        self.arrived_before = self.arrived_before.or(waits.arrived);
        self.in_flight += waits.in_flight;
        self.dead_letters.clone_from(dead_letters);
        self.lags.clone_from(lags);
        self.reasons = std::mem::take(reasons);
        if !result.info.barrier {
            self.learning_rate = result.learning_rate;
            self.threshold = result.threshold.take().or(self.threshold.take());
            self.gate = result.filter_stats.gate.take().or(self.gate.take());
        }
    }

    /// Returns whether the method has a threshold that rejects samples.
    pub fn has_threshold(&self) -> bool {
        self.threshold.is_some()
    }

    /// Returns the classes for which the gate is closed at the epoch's end; none where there is no gate.
    pub fn closed_classes(&self) -> Option<Vec<usize>> {
        let closed = |(_, class): &(usize, &Estimate)| class.threshold.is_none();
        Some(self.gate.as_ref()?.iter().enumerate().filter(closed).map(|(class, _)| class).collect())
    }

    /// Returns the epoch's report, before the values of the ledger and the machine are added. `state` is the
    /// job's and already includes the epoch's `counts` and the `network`'s predictions.
    pub fn report(
        &self,
        (counts, network): (&Counts, Predictions),
        state: &State,
        about: &Setting<'_>,
    ) -> Result<Report> {
        let seconds = self.began.elapsed().as_secs_f64().max(1e-9);
        let steps = counts.steps as f64;
        let here = |of: fn(&Counts) -> u64| (of(counts) - of(&self.before)) as f64;
        let students = |counts: &Counts| counts.student_samples + counts.labelled_samples;
        let thresholds = self.thresholds(about.classes.len())?;
        let mean = |sum: f64| Some(sum / steps);
        let updates = counts.steps.saturating_sub(state.skipped.epoch);
        let per_update = |sum: f64| (updates > 0).then(|| sum / updates as f64);
        let job = JobMeters {
            steps: Some(state.job.steps as f64),
            samples: Some(state.job.samples as f64),
            student_samples: Some(students(&state.job) as f64),
            samples_per_s: Some(here(|counts| counts.samples) / about.trained_s),
            arriving_per_s: self
                .waits
                .arrived
                .zip(self.arrived_before)
                .map(|(now, then)| (now - then) as f64 / seconds),
            student_samples_per_s: Some(here(students) / about.trained_s),
            steps_per_s: Some(here(|counts| counts.steps) / about.trained_s),
            seconds: Some(seconds),
            window_fill: mean(self.in_flight as f64 / about.window as f64),
            log_fill: self.waits.log_fill,
            // A wait is counted in the epoch in which it ends.
            credit_wait_fraction: Some((self.waits.credit_s / seconds).min(1.0)),
            source_wait_fraction: Some((self.waits.starved_s / seconds).min(1.0)),
            // Nothing works during a pause either.
            idle_fraction: Some(((about.busy.parked_s - self.waits.paused_s) / seconds).clamp(0.0, 1.0)),
            paused_fraction: Some((self.waits.paused_s / seconds).min(1.0)),
            accepted_fraction: share(counts.accepted, counts.samples),
            confidence: (counts.samples > 0).then(|| counts.confidence / counts.samples as f64),
            gate_closed_classes: self.closed_classes().map(|closed| closed.len() as f64),
            threshold: thresholds.as_ref().map(|each| each.iter().sum::<f64>() / each.len() as f64),
            filter_alarms: Some(state.filter_alarm.count as f64),
            class_alarms: Some(state.class_alarm.count as f64),
            pseudo_label_precision: counts.pseudo_label_precision(),
            disagreement: share(self.disagreed[0], self.disagreed[1]),
            agreement: (counts.compared > 0).then(|| counts.agreed / counts.compared as f64),
            accuracy: about.evaluation.map(|evaluation| evaluation.accuracy),
            network_accuracy: about.evaluation.map(|evaluation| evaluation.network_accuracy),
            balanced_accuracy: about.evaluation.and_then(|evaluation| evaluation.balanced_accuracy),
            worst_class_recall: about.evaluation.and_then(|evaluation| evaluation.worst_class_recall),
            calibration_error: about.evaluation.map(|evaluation| evaluation.calibration_error),
            prequential_accuracy: counts.prequential_accuracy(),
            prequential_accuracy_window: state.recent.accuracy(),
            prequential_accuracy_total: state.job.prequential_accuracy(),
            network_prequential_accuracy: network.accuracy(),
            network_prequential_accuracy_total: state.network.job.accuracy(),
            network_share: about.shares.map(|shares| shares.network),
            discriminants_share: about.shares.and_then(|shares| shares.of(Kind::Discriminants)),
            random_features_share: about.shares.and_then(|shares| shares.of(Kind::RandomFeatures)),
            neighbours_share: about.shares.and_then(|shares| shares.of(Kind::Neighbours)),
            forest_share: about.shares.and_then(|shares| shares.of(Kind::Forest)),
            rescaled_share: about.shares.and_then(|shares| shares.of(Kind::Rescaled)),
            prior_share: about.shares.and_then(|shares| shares.corrected),
            labelled_loss: per_update(counts.losses[0]),
            unlabelled_loss: per_update(counts.losses[1]),
            gradient_norm: per_update(counts.gradient_norm),
            skipped_updates: Some(state.skipped.job as f64),
            corrected_labels: self.corrected.map(|corrected| corrected as f64),
            learning_rate: Some(self.learning_rate),
            teacher_lag_steps: mean(counts.lag as f64),
            labels_known: Some(state.labels_known as f64),
            student_passes_per_sample: share(students(&state.job), state.job.samples),
            near_future_accuracy: state.future.accuracy(),
            near_future_shift: state.future.shift().map(|shift| shift as f64),
            average_anytime_accuracy: state.by_phase.average_anytime_accuracy(),
            forgetting: state.by_phase.forgetting(),
            backward_transfer: state.by_phase.backward_transfer(),
            min_accuracy: state.by_phase.min_accuracy(),
            worst_case_accuracy: state.by_phase.worst_case_accuracy(),
            recovery_steps: state.recovery.steps().map(|steps| steps as f64),
            phase: about.phases.map(|phases| (phases.at(state.job.samples.saturating_sub(1)) + 1) as f64),
            drift: Some(state.drift.nearness()),
            drift_alarms: Some(state.drift.alarms() as f64),
            unfit_samples: Some(state.unfit as f64),
            dead_letters: Some(self.dead_letters.iter().sum::<u64>() as f64),
            consumer_lag: self
                .lags
                .iter()
                .flatten()
                .copied()
                .reduce(|all, lag| all + lag)
                .map(|lag| lag as f64),
            ..JobMeters::default()
        };
        Ok(Report {
            epoch: state.epochs,
            ended_ms: now_ms(),
            job,
            classes: classes(counts, about, thresholds.as_deref(), self.gate.as_deref()),
            operators: self.operators(here(|counts| counts.samples), here(students), seconds, about.busy),
            workers: workers(about.efforts, self.stage_s.total(), steps, seconds),
            sources: self.sources(counts, about.sources),
            phases: phases(state, about),
            reasons: reasons(&self.reasons),
            confusions: confusions(counts, about.evaluation),
            ledger: None,
        })
    }

    /// Returns the threshold of each class at the epoch's end.
    fn thresholds(&self, classes: usize) -> Result<Option<Vec<f64>>> {
        let Some(threshold) = &self.threshold else { return Ok(None) };
        let threshold: Vec<f32> = threshold.to_device(Device::Cpu).try_into().torch()?;
        let same = threshold.first().copied().unwrap_or(0.0);
        let of = |class: usize| f64::from(threshold.get(class).copied().unwrap_or(same));
        Ok(Some((0..classes.max(1)).map(of).collect()))
    }

    fn operators(
        &self,
        samples: f64,
        students: f64,
        seconds: f64,
        busy: &Busy,
    ) -> Vec<Named<OperatorMeters>> {
        let operator = |stage: &Stage| {
            let stage_s = self.stage_s.of(stage.name);
            // timely may deliver events of the last step only after the epoch's report.
            let busy_s = busy.of(stage.name)?.max(stage_s.unwrap_or(0.0));
            let done = match stage.counts {
                Counted::Stream => samples,
                Counted::Student => students,
            };
            let meters = OperatorMeters {
                samples_per_s: Some(done / seconds),
                busy_fraction: Some(busy_s / seconds),
                stage_fraction: stage_s.map(|stage_s| stage_s / seconds),
                us_per_sample: (done > 0.0).then(|| 1e6 * stage_s.unwrap_or(busy_s) / done),
            };
            Some(Named { name: stage.name.to_string(), meters })
        };
        PIPELINE.stages.iter().filter_map(operator).collect()
    }

    fn sources(&self, counts: &Counts, names: &[String]) -> Vec<Named<SourceMeters>> {
        let of = |list: &[u64], at: usize| list.get(at).map_or(Some(0.0), |count| Some(*count as f64));
        let source = |(at, name): (usize, String)| Named {
            name,
            meters: SourceMeters {
                samples: of(&counts.by_source, at),
                dead_letters: of(&self.dead_letters, at),
                consumer_lag: self.lags.get(at).copied().flatten().map(|lag| lag as f64),
            },
        };
        distinct(names.iter().map(String::as_str)).into_iter().enumerate().map(source).collect()
    }
}
