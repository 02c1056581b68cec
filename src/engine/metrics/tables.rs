//! The tables of an epoch's report: rows by class, phase and reason, and confusion matrices.

use crate::engine::metrics::busy::Busy;
use crate::engine::metrics::counts::{Counts, share};
use crate::engine::metrics::state::State;
use sluicebox_core::report::{Cell, ClassMeters, Confusion, Named, PhaseMeters, ReasonMeters, WorkerMeters};
use sluicebox_learn::adapt::correction::AnswerShares;
use sluicebox_learn::evaluation::Evaluation;
use sluicebox_learn::pseudo_labels::Estimate;
use sluicebox_learn::stages::effort::Effort;
use sluicebox_stream::scenario::phases::Phases;

/// Most classes listed in a report.
const CLASSES: usize = 1000;
/// Most cells of a confusion matrix in a report.
const CELLS: usize = 4096;
/// Most reasons in a report.
const REASONS: usize = 16;

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
    /// Who has a say in the answers; none where they are the network's.
    pub shares: Option<&'a AnswerShares>,
    /// Phases of the job's scenario.
    pub phases: Option<&'a Phases>,
    /// Accuracy on each phase that has begun, where an evaluation was due.
    pub by_phase: &'a [Option<f64>],
    /// Seconds for which each operator was scheduled in the epoch.
    pub busy: &'a Busy,
    /// What each worker has done in the epoch; nothing in a job with one.
    pub efforts: &'a [Effort],
}

/// Returns the numbers of each worker over an epoch of `seconds`. Worker 0 is the dataflow: its stages took `dataflow_s` seconds.
pub fn workers(efforts: &[Effort], dataflow_s: f64, steps: f64, seconds: f64) -> Vec<Named<WorkerMeters>> {
    let worker = |(index, effort): (usize, &Effort)| {
        let stages_s = if index == 0 { dataflow_s } else { effort.stages_s };
        // A wait is counted in the epoch in which it ends: one for the evaluation before is not of this epoch's seconds.
        let whole_s = seconds.max(stages_s);
        let exchanged_mib = effort.exchanged_bytes as f64 / (1u64 << 20) as f64;
        let meters = WorkerMeters {
            samples_per_s: Some(effort.samples as f64 / seconds),
            busy_fraction: Some(((stages_s - effort.waited_s) / whole_s).max(0.0)),
            wait_fraction: Some((effort.waited_s / whole_s).min(1.0)),
            exchanged_per_step_mib: (effort.exchanged_bytes > 0).then(|| exchanged_mib / steps),
        };
        Named { name: index.to_string(), meters }
    };
    efforts.iter().enumerate().map(worker).collect()
}

/// Returns the numbers of each class; of the most common ones, if there are very many.
pub fn classes(
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

/// Returns the numbers of each phase.
pub fn phases(state: &State, about: &Setting<'_>) -> Vec<Named<PhaseMeters>> {
    let names = about.phases.map(Phases::names).unwrap_or_default();
    let phase = |(at, (name, accuracy)): (usize, (&String, &Option<f64>))| Named {
        name: name.clone(),
        meters: PhaseMeters { accuracy: *accuracy, forgetting: state.by_phase.forgotten(at) },
    };
    names.iter().zip(about.by_phase).enumerate().map(phase).collect()
}

/// Returns the most common reasons for refused records.
pub fn reasons(counted: &[(String, u64)]) -> Vec<Named<ReasonMeters>> {
    let mut counted: Vec<&(String, u64)> = counted.iter().filter(|(_, count)| *count > 0).collect();
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counted.truncate(REASONS);
    let reason = |(name, count): &(String, u64)| Named {
        name: name.clone(),
        meters: ReasonMeters { refused: Some(*count as f64) },
    };
    counted.into_iter().map(reason).collect()
}

/// Returns the confusion matrices of the stream and of the held-out samples.
pub fn confusions(counts: &Counts, evaluation: Option<&Evaluation>) -> Vec<Confusion> {
    let stream = counts.confusion.iter().map(|((truth, given), cell)| Cell {
        truth: *truth,
        given: *given,
        samples: cell.samples,
        accepted: cell.accepted,
    });
    let cells = evaluation.iter().flat_map(|evaluation| evaluation.confusion.cells());
    let held_out = cells.map(|(truth, given, samples)| Cell { truth, given, samples, accepted: 0 });
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
