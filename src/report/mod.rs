//! One model of the facts: what is known of an epoch, and of each number its name, unit,
//! direction and meaning. Whoever shows a job (table, terminal, page, Prometheus, TensorBoard,
//! plots, history) renders this and nothing else. How it is folded from steps is `metrics`.

#[macro_use]
mod meter;

pub use meter::{Better, Group, Kind, Meter, Meters, Unit, grouped};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::HashSet;

meters! {
    /// Of the whole job.
    JobMeters;

    /// Steps done.
    steps: Total Count Neither Throughput;
    /// Unlabelled samples that have gone through the dataflow.
    samples: Total Samples Neither Throughput;
    /// Samples in the student's passes: accepted strong views and labelled ones.
    student_samples: Total Samples Neither Throughput;
    /// Samples in the student's passes for each sample of the stream, over the whole job.
    student_passes_per_sample: Gauge Plain Neither Throughput;
    /// Samples a second that went through the dataflow.
    samples_per_s: Gauge PerSecond Higher Throughput;
    /// Samples a second that came in from outside and were acknowledged.
    arriving_per_s: Gauge PerSecond Neither Throughput;
    /// Samples a second in the student's passes.
    student_samples_per_s: Gauge PerSecond Higher Throughput;
    /// Steps a second.
    steps_per_s: Gauge PerSecond Higher Throughput;
    /// Wall time of the epoch.
    seconds: Gauge Seconds Neither Throughput;
    /// Steps under way when a step was cut, as a part of the window.
    window_fill: Gauge Share Neither Throughput;
    /// Part of the durable log that is in use.
    log_fill: Gauge Share Lower Throughput;
    /// Part of the time in which the source was held back by the window.
    credit_wait_fraction: Gauge Share Neither Throughput;
    /// Part of the time in which the stream had no sample to give.
    source_wait_fraction: Gauge Share Lower Throughput;
    /// Part of the time in which no operator had anything to do: the student waited for samples.
    idle_fraction: Gauge Share Lower Throughput;
    /// Part of the time in which the job was paused.
    paused_fraction: Gauge Share Neither Throughput;

    /// Part of the samples that passed the filter.
    accepted_fraction: Gauge Share Neither Filter;
    /// Mean of the teacher's confidence in its class.
    confidence: Gauge Share Neither Filter;
    /// The filter's threshold at the end of the epoch, mean over classes.
    threshold: Gauge Share Neither Filter;
    /// Part of the pseudo-labels that were right, where the source knows the class.
    pseudo_label_precision: Gauge Share Higher Filter;
    /// Part of the pseudo-labels in the ledger that were right, where a label has come.
    ledger_precision: Gauge Share Higher Filter;
    /// Lower end of that precision's 95 % interval (Wilson 1927).
    ledger_precision_low: Gauge Share Higher Filter;
    /// Upper end of that precision's 95 % interval (Wilson 1927).
    ledger_precision_high: Gauge Share Higher Filter;
    /// Part of the samples in the ledger without a label that have a pseudo-label.
    coverage: Gauge Share Higher Filter;
    /// Classes of which the gate lets no pseudo-label pass at the end of the epoch.
    gate_closed_classes: Gauge Plain Lower Filter;
    /// Part of the accepted samples whose strong view the student gave the pseudo-label's class.
    agreement: Gauge Share Higher Filter;

    /// The teacher's accuracy on held-out samples.
    accuracy: Gauge Share Higher Quality;
    /// Expected calibration error of the teacher on held-out samples (Guo et al. 2017).
    calibration_error: Gauge Share Lower Quality;
    /// Part of the epoch's samples whose class the teacher gave before the student saw them.
    prequential_accuracy: Gauge Share Higher Quality;
    /// The same over the newest samples whose class is known (report.window).
    prequential_accuracy_window: Gauge Share Higher Quality;
    /// The same over the whole job.
    prequential_accuracy_total: Gauge Share Higher Quality;
    /// Part of the judgements in the ledger that were right, where a label has come.
    ledger_accuracy: Gauge Share Higher Quality;
    /// Accuracy of epochs' teachers on samples of the stream near_future_shift samples later.
    near_future_accuracy: Gauge Share Higher Quality;
    /// Samples after which earlier labels are of no help (blind classifier; Prabhu et al. 2023).
    near_future_shift: Gauge Samples Neither Stream;
    /// Mean over evaluations of the mean accuracy over the phases begun (Caccia et al. 2022).
    average_anytime_accuracy: Gauge Share Higher Quality;
    /// Mean over earlier phases of their best accuracy less the present one (Chaudhry et al. 2018).
    forgetting: Gauge Plain Lower Quality;
    /// Mean over earlier phases of their accuracy less that at their end (Lopez-Paz and Ranzato 2017).
    backward_transfer: Gauge Plain Higher Quality;
    /// Mean over earlier phases of their least accuracy since they ended (De Lange et al. 2023).
    min_accuracy: Gauge Share Higher Quality;
    /// The same with the present phase's accuracy, over the phases begun (De Lange et al. 2023).
    worst_case_accuracy: Gauge Share Higher Quality;
    /// Steps after the newest change of the stream until accuracy was 95 % of what it had been.
    recovery_steps: Gauge Count Lower Quality;

    /// Loss on labelled samples, mean over the epoch's steps.
    labelled_loss: Gauge Plain Lower Learning;
    /// Loss on pseudo-labels, mean over the epoch's steps.
    unlabelled_loss: Gauge Plain Lower Learning;
    /// Euclidean norm of the gradient, mean over the epoch's steps.
    gradient_norm: Gauge Plain Neither Learning;
    /// Learning rate of the epoch's last step.
    learning_rate: Gauge Plain Neither Learning;
    /// Steps from the student to the teacher, mean over the epoch; 1 is the sequential algorithm.
    teacher_lag_steps: Gauge Count Lower Learning;

    /// Labelled samples that are known.
    labels_known: Gauge Count Higher Stream;
    /// Labels that came after their samples.
    late_labels: Total Count Neither Stream;
    /// Median of how many samples a label came after its own, rounded down to a power of two.
    label_delay_samples: Gauge Samples Lower Stream;
    /// Divergence of the teacher's class prior from the labels' (Kullback-Leibler).
    prior_divergence: Gauge Nats Lower Stream;
    /// Phase of the job's scenario, from 1.
    phase: Gauge Count Neither Stream;
    /// How near the drift detector is to its alarm; 1 raises it.
    drift: Gauge Share Lower Stream;
    /// Times that the drift detector raised its alarm.
    drift_alarms: Total Count Lower Stream;
    /// Records that could not be read.
    dead_letters: Total Count Lower Stream;

    /// Seconds since the newest checkpoint.
    checkpoint_age_seconds: Gauge Seconds Lower System;
    /// Seconds that the newest checkpoint took.
    checkpoint_seconds: Gauge Seconds Lower System;
    /// Memory that the process holds.
    resident_memory_mib: Gauge Mebibytes Lower System;
    /// Memory in use on the job's GPU.
    gpu_memory_mib: Gauge Mebibytes Lower System;
    /// Part of the time in which the job's GPU was busy.
    gpu_busy_fraction: Gauge Share Higher System;
    /// Reports that an observer was too slow to take.
    reports_dropped: Total Count Lower System;
}

meters! {
    /// Of a class.
    ClassMeters;

    /// Samples of the epoch that the teacher gave this class.
    judged: Gauge Samples Neither Filter;
    /// Part of those that passed the filter.
    accepted_fraction: Gauge Share Neither Filter;
    /// The filter's threshold for the class at the end of the epoch.
    threshold: Gauge Share Neither Filter;
    /// Part of its pseudo-labels that were right, where the source knows the class.
    pseudo_label_precision: Gauge Share Higher Filter;
    /// Part of its pseudo-labels in the ledger that were right, where a label has come.
    ledger_precision: Gauge Share Higher Filter;
    /// What the gate takes its precision to be at that threshold, from the labels that came.
    gate_precision: Gauge Share Higher Filter;
    /// 1 where the gate lets no pseudo-label of it pass, else 0.
    gate_closed: Gauge Plain Lower Filter;
    /// Pseudo-labels of this class in the ledger.
    pseudo_labels: Gauge Samples Neither Filter;
    /// The teacher's accuracy on held-out samples of this class.
    accuracy: Gauge Share Higher Quality;
}

meters! {
    /// Of an operator of the dataflow.
    OperatorMeters;

    /// Samples a second that it worked on.
    samples_per_s: Gauge PerSecond Higher Throughput;
    /// Part of the wall time in which it was scheduled: its stage's work and the engine's.
    busy_fraction: Gauge Share Neither Throughput;
    /// Part of the wall time that its stage's own work took.
    stage_fraction: Gauge Share Neither Throughput;
    /// Stage time for each sample that it worked on.
    us_per_sample: Gauge Microseconds Lower Throughput;
}

meters! {
    /// Of a source of the job.
    SourceMeters;

    /// Samples that it gave in the epoch.
    samples: Gauge Samples Neither Stream;
    /// Records of it that could not be read.
    dead_letters: Total Count Lower Stream;
}

meters! {
    /// Of a phase of the job's scenario.
    PhaseMeters;

    /// The teacher's accuracy on held-out samples of this phase: R[i, j].
    accuracy: Gauge Share Higher Quality;
    /// Its best accuracy at a phase's end less the present one.
    forgetting: Gauge Plain Lower Quality;
}

meters! {
    /// Of a reason for which records could not be read or requests were refused.
    ReasonMeters;

    /// Records or requests.
    refused: Total Count Lower Stream;
}

/// Numbers of one of several things, by its name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Named<M> {
    /// Its name.
    pub name: String,
    /// Its numbers.
    #[serde(flatten)]
    pub meters: M,
}

/// Names that are all different: two sources of a kind are `csv` and `csv #2`.
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
    /// The class that it is.
    pub truth: u32,
    /// The class that it was given.
    pub given: u32,
    /// Samples.
    pub samples: u64,
    /// Those of them that were accepted.
    pub accepted: u64,
}

/// A confusion matrix without its empty cells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// What is taken for the truth: `stream` (the source knows it; this epoch), `labels` (late
    /// labels; what is in the ledger) or `held-out` (the last evaluation).
    pub of: String,
    /// The fullest cells, sorted by truth and given class.
    pub cells: Vec<Cell>,
}

/// What is known of an epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// From 1.
    pub epoch: u64,
    /// When it ended: ms since 1970, UTC.
    pub ended_ms: u64,
    /// Of the whole job.
    #[serde(flatten)]
    pub job: JobMeters,
    /// Of each class, in the format's order; of the most judged ones where there are very many.
    #[serde(default)]
    pub classes: Vec<Named<ClassMeters>>,
    /// Of each operator, in the dataflow's order.
    #[serde(default)]
    pub operators: Vec<Named<OperatorMeters>>,
    /// Of each source, in the job's order.
    #[serde(default)]
    pub sources: Vec<Named<SourceMeters>>,
    /// Of each phase that has begun, where the epoch was evaluated.
    #[serde(default)]
    pub phases: Vec<Named<PhaseMeters>>,
    /// Of each reason, the most frequent first, at most 16.
    #[serde(default)]
    pub reasons: Vec<Named<ReasonMeters>>,
    /// What is taken for what.
    #[serde(default)]
    pub confusions: Vec<Confusion>,
    /// What the ledger says of labels.
    #[serde(default)]
    pub ledger: Option<crate::ledger::Report>,
}

/// What does not change while a job runs: what a viewer needs beside reports.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Name of the job.
    pub job: String,
    /// Kind of the method.
    pub method: String,
    /// The whole job, as TOML.
    pub toml: String,
    /// Where it computes, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Processor, cores and memory; the GPU's name.
    pub machine: String,
    /// Version of Sluicebox.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// When this run of the job began: ms since 1970, UTC.
    pub started_ms: u64,
    /// Steps an epoch.
    pub epoch_steps: u64,
    /// Epochs after which the job ends; 0 is never.
    pub stop_epochs: u64,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The dataflow's edges: from, to, and whether it is a feedback edge.
    pub edges: Vec<(String, String, bool)>,
    /// Samples are images.
    pub images: bool,
    /// The state folder; none where nothing is kept.
    pub state: Option<String>,
}

/// A line of the job's log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When: ms since 1970, UTC.
    pub at_ms: u64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The module that says it.
    pub module: String,
    /// What it says.
    pub text: String,
}

/// How far a job has got within its epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The present epoch, from 1.
    pub epoch: u64,
    /// Its steps so far.
    pub done: u64,
    /// Steps an epoch.
    pub of: u64,
    /// The job is paused.
    pub paused: bool,
    /// The job is over.
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
