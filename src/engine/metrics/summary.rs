//! The job's result.

use crate::engine::metrics::phases::PhaseRow;
use serde::Serialize;
use sluicebox_learn::device::Precision;

/// The job's result: what `--summary` writes.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Name of the job.
    pub job: String,
    /// Kind of the method.
    pub method: String,
    /// Device, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Precision of the networks: `f32` or `bf16`, also where the job says `auto`.
    pub precision: Precision,
    /// Threads for computation. Weights are repeatable for the same number of threads.
    pub threads: usize,
    /// Number of workers.
    pub workers: usize,
    /// The job's seed.
    pub seed: u64,
    /// Epochs done, over all runs of the job.
    pub epochs: u64,
    /// Steps done, over all runs of the job.
    pub steps: u64,
    /// Unlabelled samples streamed, over all runs of the job.
    pub samples_seen: u64,
    /// Throughput of this run.
    pub samples_per_s: f64,
    /// Wall time of this run.
    pub seconds: f64,
    /// Fraction of all samples that passed the filter, 0 to 1.
    pub accepted_fraction: f64,
    /// Fraction of accepted pseudo-labels that are right; none without known classes.
    pub pseudo_label_precision: Option<f64>,
    /// Samples in the student's passes for the unlabelled loss.
    pub student_samples: u64,
    /// Steps with an update that was skipped: loss or gradient not finite, or the batch too small for the network.
    pub skipped_updates: u64,
    /// Samples that were not learned from, as a value is too large to compute with (above 1e15, scaled).
    pub unfit_samples: u64,
    /// Epochs in which the filter began to accept all samples or none, or one class to take all pseudo-labels.
    pub filter_alarms: u64,
    /// Classes that began to have no answers, or no accepted pseudo-labels, for long, while others had some.
    pub class_alarms: u64,
    /// Accuracy of the answers at the last evaluation; none without held-out samples.
    pub accuracy: Option<f64>,
    /// Accuracy of the teacher's network alone at that evaluation: `accuracy` where nothing else has a part in the
    /// answers.
    pub network_accuracy: Option<f64>,
    /// Best accuracy over all evaluations, and the epoch at whose end it was.
    pub best_accuracy: Option<f64>,
    /// See `best_accuracy`.
    pub best_epoch: Option<u64>,
    /// Whether the job has ended because of `stop.patience`.
    pub stopped_early: bool,
    /// Labelled samples in the replay buffer.
    pub label_count: u64,
    /// Labels that came after their samples.
    pub late_labels: u64,
    /// Fraction of the answers to streamed samples that are right, test-then-train; none without known classes.
    pub prequential_accuracy: Option<f64>,
    /// The same of the teacher's network alone.
    pub network_prequential_accuracy: Option<f64>,
    /// Accuracy of the epochs' teacher networks alone on samples of the stream `near_future_shift` samples later.
    pub near_future_accuracy: Option<f64>,
    /// Distance in samples at which earlier labels are of no help; none if they help at all distances.
    pub near_future_shift: Option<u64>,
    /// Mean over evaluations of the mean accuracy over the phases begun.
    pub average_anytime_accuracy: Option<f64>,
    /// Best minus last accuracy, mean over earlier phases; none without earlier phases.
    pub forgetting: Option<f64>,
    /// Last accuracy minus accuracy at the phase's end, mean over earlier phases.
    pub backward_transfer: Option<f64>,
    /// Least accuracy since the phase's end, mean over earlier phases.
    pub min_accuracy: Option<f64>,
    /// Mean over all phases begun of the present phase's accuracy and the earlier phases' `min_accuracy`.
    pub worst_case_accuracy: Option<f64>,
    /// R: accuracy on each phase begun, at the end of each phase; at most the newest 1,000 rows. Empty where no
    /// phase has ended, and in jobs that never evaluate.
    pub phase_accuracy: Vec<PhaseRow>,
    /// Steps after the newest change of the stream until accuracy was 95 % of its former value.
    pub recovery_steps: Option<u64>,
    /// Samples in the student's passes per sample of the stream.
    pub student_passes_per_sample: Option<f64>,
    /// Checkpoints written by this run.
    pub checkpoints: u64,
    /// Peak resident memory of this process.
    pub peak_rss_mib: f64,
    /// SHA-256 of the student's state: weights, running statistics, optimiser and the teacher's versions.
    pub weights_sha256: String,
}
