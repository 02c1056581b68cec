//! The model of an epoch's report: every number with its name, unit, direction and meaning. All outputs
//! (table, terminal, page, Prometheus, TensorBoard, plots, history) render only this. `metrics` computes it
//! from steps.

#[macro_use]
mod meter;
pub mod ledger;
pub mod pipeline;
pub mod progress;
pub mod thumbnail;

pub use meter::{Better, Group, Kind, Meter, Meters, Unit, grouped};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::HashSet;

meters! {
    /// Numbers of the whole job.
    JobMeters;

    /// Steps done.
    steps: Total Count Neither Throughput;
    /// Unlabelled samples that have gone through the dataflow.
    samples: Total Samples Neither Throughput;
    /// Samples in the student's passes: accepted strong views and labelled samples.
    student_samples: Total Samples Neither Throughput;
    /// Samples in the student's passes per sample of the stream, over the whole job.
    student_passes_per_sample: Gauge Plain Neither Throughput;
    /// Samples a second that went through the dataflow.
    samples_per_s: Gauge PerSecond Higher Throughput;
    /// Samples per second that came from outside and were acknowledged.
    arriving_per_s: Gauge PerSecond Neither Throughput;
    /// Samples per second in the student's passes.
    student_samples_per_s: Gauge PerSecond Higher Throughput;
    /// Steps per second.
    steps_per_s: Gauge PerSecond Higher Throughput;
    /// Wall time of the epoch.
    seconds: Gauge Seconds Neither Throughput;
    /// Steps in flight when a step was cut, as a fraction of flow.window.
    window_fill: Gauge Share Neither Throughput;
    /// Fraction of the write-ahead log's capacity that is in use.
    log_fill: Gauge Share Lower Throughput;
    /// Fraction of the time in which the source waited because flow.window steps were in flight.
    credit_wait_fraction: Gauge Share Neither Throughput;
    /// Fraction of the time in which the source waited for samples of the stream.
    source_wait_fraction: Gauge Share Lower Throughput;
    /// Fraction of the time in which no operator had work: the student waited for samples.
    idle_fraction: Gauge Share Lower Throughput;
    /// Fraction of the time in which the job was paused.
    paused_fraction: Gauge Share Neither Throughput;

    /// Fraction of the samples that passed the filter.
    accepted_fraction: Gauge Share Neither Filter;
    /// Mean confidence of the teacher's pseudo-labels.
    confidence: Gauge Share Neither Filter;
    /// Confidence threshold of the filter at the end of the epoch, mean over classes.
    threshold: Gauge Share Neither Filter;
    /// Fraction of the accepted pseudo-labels that are right, where the source knows the class.
    pseudo_label_precision: Gauge Share Higher Filter;
    /// Fraction of the accepted pseudo-labels in the ledger that are right, where a label has come.
    ledger_precision: Gauge Share Higher Filter;
    /// Lower end of the 95 % interval of ledger_precision (Wilson 1927).
    ledger_precision_low: Gauge Share Higher Filter;
    /// Upper end of the 95 % interval of ledger_precision (Wilson 1927).
    ledger_precision_high: Gauge Share Higher Filter;
    /// Part of the samples in the ledger without a label that have a pseudo-label.
    coverage: Gauge Share Higher Filter;
    /// Classes for which the gate accepts no pseudo-label at the end of the epoch.
    gate_closed_classes: Gauge Plain Lower Filter;
    /// Fraction of the accepted samples whose strong view the student gave the pseudo-label's class.
    agreement: Gauge Share Higher Filter;

    /// The teacher's accuracy on held-out samples.
    accuracy: Gauge Share Higher Quality;
    /// Expected calibration error of the teacher on held-out samples (Guo et al. 2017).
    calibration_error: Gauge Share Lower Quality;
    /// Fraction of the epoch's samples that the teacher predicted correctly before the student saw them.
    prequential_accuracy: Gauge Share Higher Quality;
    /// prequential_accuracy over the newest samples whose class is known (report.window).
    prequential_accuracy_window: Gauge Share Higher Quality;
    /// prequential_accuracy over the whole job.
    prequential_accuracy_total: Gauge Share Higher Quality;
    /// Fraction of all pseudo-labels in the ledger that are right, where a label has come.
    ledger_accuracy: Gauge Share Higher Quality;
    /// Accuracy of the epochs' teachers on samples of the stream near_future_shift samples later.
    near_future_accuracy: Gauge Share Higher Quality;
    /// Distance in samples at which earlier labels are of no help (blind classifier; Prabhu et al. 2023).
    near_future_shift: Gauge Samples Neither Stream;
    /// Mean over evaluations of the mean accuracy over the phases begun (Caccia et al. 2022).
    average_anytime_accuracy: Gauge Share Higher Quality;
    /// Mean over earlier phases of best accuracy minus present accuracy (Chaudhry et al. 2018).
    forgetting: Gauge Plain Lower Quality;
    /// Mean over earlier phases of accuracy minus that at the phase's end (Lopez-Paz and Ranzato 2017).
    backward_transfer: Gauge Plain Higher Quality;
    /// Mean over earlier phases of the least accuracy since they ended (De Lange et al. 2023).
    min_accuracy: Gauge Share Higher Quality;
    /// Mean of the present phase's accuracy and the earlier phases' least accuracy (De Lange et al. 2023).
    worst_case_accuracy: Gauge Share Higher Quality;
    /// Steps after the newest change of the stream until accuracy was 95 % of its former value.
    recovery_steps: Gauge Count Lower Quality;

    /// Loss on labelled samples, mean over the epoch's steps.
    labelled_loss: Gauge Plain Lower Learning;
    /// Loss on pseudo-labels, mean over the epoch's steps.
    unlabelled_loss: Gauge Plain Lower Learning;
    /// Euclidean norm of the gradient, mean over the epoch's steps.
    gradient_norm: Gauge Plain Neither Learning;
    /// Learning rate of the epoch's last step.
    learning_rate: Gauge Plain Neither Learning;
    /// Lag of the teacher behind the student in steps, mean over the epoch; 1 is the sequential algorithm.
    teacher_lag_steps: Gauge Count Lower Learning;

    /// Labelled samples in the replay buffer.
    labels_known: Gauge Count Higher Stream;
    /// Labels that came after their samples.
    late_labels: Total Count Neither Stream;
    /// Median delay of late labels in samples, rounded down to a power of two.
    label_delay_samples: Gauge Samples Lower Stream;
    /// Kullback-Leibler divergence of the teacher's class prior from the labels'.
    prior_divergence: Gauge Nats Lower Stream;
    /// Current phase of the job's scenario, from 1.
    phase: Gauge Count Neither Stream;
    /// Statistic of the drift detector as a fraction of its alarm threshold; 1 raises the alarm.
    drift: Gauge Share Lower Stream;
    /// Alarms of the drift detector.
    drift_alarms: Total Count Lower Stream;
    /// Records that could not be read.
    dead_letters: Total Count Lower Stream;

    /// Seconds since the newest checkpoint.
    checkpoint_age_seconds: Gauge Seconds Lower System;
    /// Seconds that writing the newest checkpoint took.
    checkpoint_seconds: Gauge Seconds Lower System;
    /// Resident memory of the process.
    resident_memory_mib: Gauge Mebibytes Lower System;
    /// Memory in use on the job's GPU.
    gpu_memory_mib: Gauge Mebibytes Lower System;
    /// Fraction of the time in which the job's GPU was busy.
    gpu_busy_fraction: Gauge Share Higher System;
    /// Reports that an observer missed because it was too slow.
    reports_dropped: Total Count Lower System;
}

meters! {
    /// Numbers of a class.
    ClassMeters;

    /// Samples of the epoch with this class as pseudo-label.
    judged: Gauge Samples Neither Filter;
    /// Fraction of those samples that passed the filter.
    accepted_fraction: Gauge Share Neither Filter;
    /// Confidence threshold of the class at the end of the epoch.
    threshold: Gauge Share Neither Filter;
    /// Fraction of its accepted pseudo-labels that are right, where the source knows the class.
    pseudo_label_precision: Gauge Share Higher Filter;
    /// Fraction of its accepted pseudo-labels in the ledger that are right, where a label has come.
    ledger_precision: Gauge Share Higher Filter;
    /// Gate's estimate, from late labels, of the precision of its pseudo-labels at that threshold.
    gate_precision: Gauge Share Higher Filter;
    /// 1 where the gate accepts no pseudo-label of the class, else 0.
    gate_closed: Gauge Plain Lower Filter;
    /// Accepted pseudo-labels of the class in the ledger whose sample has no label yet.
    pseudo_labels: Gauge Samples Neither Filter;
    /// The teacher's accuracy on held-out samples of this class.
    accuracy: Gauge Share Higher Quality;
}

meters! {
    /// Numbers of an operator of the dataflow.
    OperatorMeters;

    /// Samples per second that it processed.
    samples_per_s: Gauge PerSecond Higher Throughput;
    /// Fraction of the wall time in which it was scheduled: its stage's work and the engine's.
    busy_fraction: Gauge Share Neither Throughput;
    /// Fraction of the wall time spent in its stage's own work.
    stage_fraction: Gauge Share Neither Throughput;
    /// Stage time per sample that it processed.
    us_per_sample: Gauge Microseconds Lower Throughput;
}

meters! {
    /// Numbers of a source of the job.
    SourceMeters;

    /// Samples that it delivered in the epoch.
    samples: Gauge Samples Neither Stream;
    /// Records of it that could not be read.
    dead_letters: Total Count Lower Stream;
}

meters! {
    /// Numbers of a phase of the job's scenario.
    PhaseMeters;

    /// The teacher's accuracy on held-out samples of this phase: R[i, j].
    accuracy: Gauge Share Higher Quality;
    /// Best accuracy on this phase at the end of a phase minus the present accuracy.
    forgetting: Gauge Plain Lower Quality;
}

meters! {
    /// Numbers of a reason for unreadable records or refused requests.
    ReasonMeters;

    /// Unreadable records and refused requests.
    refused: Total Count Lower Stream;
}

/// Numbers of one class, operator, source, phase or reason.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Named<M> {
    /// Its name.
    pub name: String,
    /// Its numbers.
    #[serde(flatten)]
    pub meters: M,
}

/// Makes names unique: two sources of kind `csv` become `csv` and `csv #2`.
pub fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut distinct = Vec::new();
    let mut taken = HashSet::new();
    for name in names {
        let others = (2..).map(|times: u64| format!("{name} #{times}"));
        let free = std::iter::once(name.to_string()).chain(others).find(|name| taken.insert(name.clone()));
        distinct.extend(free);
    }
    distinct
}

/// A cell of a confusion matrix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// True class.
    pub truth: u32,
    /// Class of the pseudo-label, or the predicted class (`held-out`).
    pub given: u32,
    /// Number of samples.
    pub samples: u64,
    /// Number of samples that were accepted.
    pub accepted: u64,
}

/// A confusion matrix without its empty cells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// Origin of the true class: `stream` (known to the source; this epoch), `labels` (late labels; samples
    /// in the ledger) or `held-out` (the last evaluation).
    pub of: String,
    /// The fullest cells, sorted by truth and given class.
    pub cells: Vec<Cell>,
}

/// Report of an epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// End of the epoch: ms since 1970, UTC.
    pub ended_ms: u64,
    /// Numbers of the whole job.
    #[serde(flatten)]
    pub job: JobMeters,
    /// Numbers of each class, in the format's order; of the 1000 with most pseudo-labels if there are more.
    #[serde(default)]
    pub classes: Vec<Named<ClassMeters>>,
    /// Numbers of each operator, in the dataflow's order.
    #[serde(default)]
    pub operators: Vec<Named<OperatorMeters>>,
    /// Numbers of each source, in the job's order.
    #[serde(default)]
    pub sources: Vec<Named<SourceMeters>>,
    /// Numbers of each phase that has begun, if the epoch was evaluated.
    #[serde(default)]
    pub phases: Vec<Named<PhaseMeters>>,
    /// Counts by reason, the most frequent first, at most 16.
    #[serde(default)]
    pub reasons: Vec<Named<ReasonMeters>>,
    /// Confusion matrices.
    #[serde(default)]
    pub confusions: Vec<Confusion>,
    /// Statistics of the ledger.
    #[serde(default)]
    pub ledger: Option<crate::report::ledger::Report>,
}

/// Constants of a running job that a viewer needs besides reports.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Name of the job.
    pub job: String,
    /// Kind of the method.
    pub method: String,
    /// The whole job as TOML.
    pub toml: String,
    /// Device, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Processor, cores and memory; the GPU's name.
    pub machine: String,
    /// Version of Sluicebox.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Start of this run of the job: ms since 1970, UTC.
    pub started_ms: u64,
    /// Steps per epoch.
    pub epoch_steps: u64,
    /// Epochs after which the job ends; 0 is never.
    pub stop_epochs: u64,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The dataflow's edges: from, to, and whether it is a feedback edge.
    pub edges: Vec<(String, String, bool)>,
    /// Whether samples are images.
    pub images: bool,
    /// State folder; none where nothing is kept.
    pub state: Option<String>,
}

/// A line of the job's log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Time: ms since 1970, UTC.
    pub at_ms: u64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Module that wrote the line.
    pub module: String,
    /// Text of the line.
    pub text: String,
}

/// Progress of a job within its epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Number of the current epoch, from 1.
    pub epoch: u64,
    /// Steps done in the epoch.
    pub done: u64,
    /// Steps per epoch.
    pub of: u64,
    /// Whether the job is paused.
    pub paused: bool,
    /// Whether the job has ended.
    pub over: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_name_is_told_apart() {
        assert_eq!(distinct(["csv", "tcp", "csv"].into_iter()), ["csv", "tcp", "csv #2"]);
    }
}
