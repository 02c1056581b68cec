//! The current epoch: its values besides the counts, and the report made of it at its end.

use crate::engine::metrics::State;
use crate::engine::metrics::busy::Busy;
use crate::engine::metrics::counts::{Counts, share};
use sluicebox_core::error::Result;
use sluicebox_core::report::pipeline::STAGES;
use sluicebox_core::report::{Cell, ClassMeters, Confusion, JobMeters, Named, OperatorMeters, PhaseMeters};
use sluicebox_core::report::{ReasonMeters, Report, SourceMeters, distinct};
use sluicebox_core::step::{StepInfo, Waits};
use sluicebox_core::system::now_ms;
use sluicebox_learn::evaluation::Evaluation;
use sluicebox_learn::messages::StepResult;
use sluicebox_learn::pseudo_labels::Estimate;
use sluicebox_learn::torch::TorchResult;
use sluicebox_stream::scenario::phases::Phases;
use std::time::Instant;
use tch::{Device, Tensor};

/// Most classes listed in a report.
const CLASSES: usize = 1000;
/// Most cells of a confusion matrix in a report.
const CELLS: usize = 4096;
/// Most reasons in a report.
const REASONS: usize = 16;

/// The current epoch in this process.
pub struct Epoch {
    pub(super) began: Instant,
    /// Counts of this epoch made before a restart.
    pub(super) before: Counts,
    pub(super) stage_s: [f64; STAGES.len()],
    waits: Waits,
    under_way: u64,
    dead_letters: Vec<u64>,
    reasons: Vec<(String, u64)>,
    learning_rate: f64,
    threshold: Option<Tensor>,
    gate: Option<Vec<Estimate>>,
    arrived_before: Option<u64>,
}

impl Epoch {
    /// Returns an epoch that starts now, of which `before` is already done.
    pub fn new(before: Counts) -> Self {
        Self {
            began: Instant::now(),
            before,
            stage_s: [0.0; STAGES.len()],
            waits: Waits::default(),
            under_way: 0,
            dead_letters: Vec::new(),
            reasons: Vec::new(),
            learning_rate: 0.0,
            threshold: None,
            gate: None,
            arrived_before: None,
        }
    }

    /// Returns the epoch after this one.
    pub fn next(&self) -> Self {
        let dead_letters = self.dead_letters.clone();
        Self { dead_letters, arrived_before: self.waits.arrived, ..Self::new(Counts::default()) }
    }

    /// Takes in a step result.
    pub fn add(&mut self, outcome: &mut StepResult) {
        let StepInfo { stage_s, waits, dead_letters, reasons, barrier, .. } = &mut outcome.info;
        self.stage_s.iter_mut().zip(stage_s).for_each(|(sum, seconds)| *sum += *seconds);
        self.waits.starved_s += waits.starved_s;
        self.waits.credit_s += waits.credit_s;
        self.waits.paused_s += waits.paused_s;
        self.waits.log_fill = waits.log_fill;
        self.waits.arrived = waits.arrived;
        self.arrived_before = self.arrived_before.or(waits.arrived);
        self.under_way += waits.under_way;
        self.dead_letters.clone_from(dead_letters);
        self.reasons = std::mem::take(reasons);
        if !*barrier {
            self.learning_rate = outcome.learning_rate;
            self.threshold = outcome.threshold.take().or(self.threshold.take());
            self.gate = outcome.filter_stats.gate.take();
        }
    }

    /// Returns the epoch's report, before the values of the ledger and the machine are added. `state` is the
    /// job's and already includes the epoch's `counts`.
    pub fn report(&self, counts: &Counts, state: &State, about: &Setting<'_>) -> Result<Report> {
        let seconds = self.began.elapsed().as_secs_f64().max(1e-9);
        let steps = counts.steps as f64;
        let here = |of: fn(&Counts) -> u64| (of(counts) - of(&self.before)) as f64;
        let students = |counts: &Counts| counts.student_samples + counts.labelled_samples;
        let thresholds = self.thresholds(about.classes.len())?;
        let mean = |sum: f64| Some(sum / steps);
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
            window_fill: mean(self.under_way as f64 / about.window as f64),
            log_fill: self.waits.log_fill,
            // A wait is counted in the epoch in which it ends.
            credit_wait_fraction: Some((self.waits.credit_s / seconds).min(1.0)),
            source_wait_fraction: Some((self.waits.starved_s / seconds).min(1.0)),
            idle_fraction: Some((about.busy.parked_s / seconds).min(1.0)),
            paused_fraction: Some((self.waits.paused_s / seconds).min(1.0)),
            accepted_fraction: share(counts.accepted, counts.samples),
            confidence: (counts.samples > 0).then(|| counts.confidence / counts.samples as f64),
            gate_closed_classes: self
                .gate
                .as_ref()
                .map(|classes| classes.iter().filter(|class| class.threshold.is_none()).count() as f64),
            threshold: thresholds.as_ref().map(|each| each.iter().sum::<f64>() / each.len() as f64),
            pseudo_label_precision: counts.pseudo_label_precision(),
            agreement: (counts.compared > 0).then(|| counts.agreed / counts.compared as f64),
            accuracy: about.evaluation.map(|evaluation| evaluation.accuracy),
            calibration_error: about.evaluation.map(|evaluation| evaluation.calibration_error),
            prequential_accuracy: counts.prequential_accuracy(),
            prequential_accuracy_window: state.recent.accuracy(),
            prequential_accuracy_total: state.job.prequential_accuracy(),
            labelled_loss: mean(counts.losses[0]),
            unlabelled_loss: mean(counts.losses[1]),
            gradient_norm: mean(counts.gradient_norm),
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
            dead_letters: Some(self.dead_letters.iter().sum::<u64>() as f64),
            ..JobMeters::default()
        };
        Ok(Report {
            epoch: state.epochs,
            ended_ms: now_ms(),
            job,
            classes: classes(counts, about, thresholds.as_deref(), self.gate.as_deref()),
            operators: self.operators(here(|counts| counts.samples), here(students), seconds, about.busy),
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
        let operator = |name: &&'static str| {
            let stage_s = STAGES.iter().position(|stage| stage == name).map(|at| self.stage_s[at]);
            // timely may deliver events of the last step only after the epoch's report.
            let busy_s = busy.of(name)?.max(stage_s.unwrap_or(0.0));
            let done = if matches!(*name, "strong" | "learn") { students } else { samples };
            let meters = OperatorMeters {
                samples_per_s: Some(done / seconds),
                busy_fraction: Some(busy_s / seconds),
                stage_fraction: stage_s.map(|stage_s| stage_s / seconds),
                us_per_sample: (done > 0.0).then(|| 1e6 * stage_s.unwrap_or(busy_s) / done),
            };
            Some(Named { name: name.to_string(), meters })
        };
        Busy::OPERATORS.iter().filter_map(operator).collect()
    }

    fn sources(&self, counts: &Counts, names: &[String]) -> Vec<Named<SourceMeters>> {
        let of = |list: &[u64], at: usize| list.get(at).map_or(Some(0.0), |count| Some(*count as f64));
        let source = |(at, name): (usize, String)| Named {
            name,
            meters: SourceMeters {
                samples: of(&counts.by_source, at),
                dead_letters: of(&self.dead_letters, at),
            },
        };
        distinct(names.iter().map(String::as_str)).into_iter().enumerate().map(source).collect()
    }
}

/// Inputs of an epoch's report besides the epoch.
pub struct Setting<'a> {
    /// Names of the classes.
    pub classes: &'a [String],
    /// Kinds of the sources.
    pub sources: &'a [String],
    /// `flow.window`: most steps in flight.
    pub window: u64,
    /// Seconds from the epoch's start to the start of its evaluation.
    pub trained_s: f64,
    /// Evaluation at the epoch's end, where one was due.
    pub evaluation: Option<&'a Evaluation>,
    /// Phases of the job's scenario.
    pub phases: Option<&'a Phases>,
    /// Accuracy on each phase that has begun, where an evaluation was due.
    pub by_phase: &'a [Option<f64>],
    /// Seconds for which each operator was scheduled in the epoch.
    pub busy: &'a Busy,
}

fn classes(
    counts: &Counts,
    about: &Setting<'_>,
    thresholds: Option<&[f64]>,
    gate: Option<&[Estimate]>,
) -> Vec<Named<ClassMeters>> {
    let count = |class: usize| counts.by_class.get(class).copied().unwrap_or_default();
    let mut shown: Vec<usize> = (0..about.classes.len()).collect();
    if shown.len() > CLASSES {
        shown.sort_by_key(|class| std::cmp::Reverse(count(*class).judged));
        shown.truncate(CLASSES);
        shown.sort_unstable();
    }
    let class = |class: usize| {
        let counts = count(class);
        let meters = ClassMeters {
            judged: Some(counts.judged as f64),
            accepted_fraction: share(counts.accepted, counts.judged),
            threshold: thresholds.and_then(|each| each.get(class).copied()),
            gate_precision: gate.and_then(|each| Some(each.get(class)?.precision)),
            gate_closed: gate
                .and_then(|each| Some(f64::from(u8::from(each.get(class)?.threshold.is_none())))),
            pseudo_label_precision: share(counts.accepted_right, counts.accepted_known),
            accuracy: about.evaluation.and_then(|found| found.class_accuracy.get(class).copied().flatten()),
            ..ClassMeters::default()
        };
        Named { name: about.classes[class].clone(), meters }
    };
    shown.into_iter().map(class).collect()
}

fn phases(state: &State, about: &Setting<'_>) -> Vec<Named<PhaseMeters>> {
    let names = about.phases.map(Phases::names).unwrap_or_default();
    let phase = |(at, (name, accuracy)): (usize, (&String, &Option<f64>))| Named {
        name: name.clone(),
        meters: PhaseMeters { accuracy: *accuracy, forgetting: state.by_phase.forgotten(at) },
    };
    names.iter().zip(about.by_phase).enumerate().map(phase).collect()
}

fn reasons(counted: &[(String, u64)]) -> Vec<Named<ReasonMeters>> {
    let mut counted: Vec<&(String, u64)> = counted.iter().filter(|(_, count)| *count > 0).collect();
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counted.truncate(REASONS);
    let reason = |(name, count): &(String, u64)| Named {
        name: name.clone(),
        meters: ReasonMeters { refused: Some(*count as f64) },
    };
    counted.into_iter().map(reason).collect()
}

fn confusions(counts: &Counts, evaluation: Option<&Evaluation>) -> Vec<Confusion> {
    let stream = counts.confusion.iter().map(|((truth, given), cell)| Cell {
        truth: *truth,
        given: *given,
        samples: cell.samples,
        accepted: cell.accepted,
    });
    let rows = evaluation.iter().flat_map(|evaluation| evaluation.confusion.iter().enumerate());
    let held_out = rows.flat_map(|(truth, row)| {
        let cell = move |(given, samples): (usize, &u64)| Cell {
            truth: truth as u32,
            given: given as u32,
            samples: *samples,
            accepted: 0,
        };
        row.iter().enumerate().map(cell)
    });
    [confusion("stream", stream), confusion("held-out", held_out)].into_iter().flatten().collect()
}

/// Returns the fullest cells, sorted by true and given class; none if all are empty.
pub fn confusion(of: &str, cells: impl Iterator<Item = Cell>) -> Option<Confusion> {
    let mut cells: Vec<Cell> = cells.filter(|cell| cell.samples > 0).collect();
    if cells.len() > CELLS {
        cells.sort_by_key(|cell| std::cmp::Reverse(cell.samples));
        cells.truncate(CELLS);
    }
    cells.sort_by_key(|cell| (cell.truth, cell.given));
    (!cells.is_empty()).then(|| Confusion { of: of.to_string(), cells })
}
