//! The job's result.

use serde::Serialize;

/// The job's result: what `--summary` writes.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Name of the job.
    pub job: String,
    /// Kind of the method.
    pub method: String,
    /// Where it computed.
    pub device: String,
    /// Workers.
    pub workers: usize,
    /// The job's seed.
    pub seed: u64,
    /// Epochs done, over all runs of the job.
    pub epochs: u64,
    /// Steps done, over all runs of the job.
    pub steps: u64,
    /// Unlabelled samples streamed, over all runs of the job.
    pub samples_seen: u64,
    /// Of this run.
    pub samples_per_s: f64,
    /// Of this run.
    pub seconds: f64,
    /// Part of all samples that passed the filter.
    pub accepted_fraction: f64,
    /// Part of all pseudo-labels that were right; none without truth.
    pub pseudo_label_precision: Option<f64>,
    /// Samples in the student's passes for the unlabelled loss.
    pub student_samples: u64,
    /// The teacher's at the last evaluation; none without held-out samples.
    pub accuracy: Option<f64>,
    /// Labelled samples known.
    pub label_count: u64,
    /// Labels that came after their samples.
    pub late_labels: u64,
    /// Part of all classes the teacher gave that were right; none without truth.
    pub prequential_accuracy: Option<f64>,
    /// Accuracy of epochs' teachers on what the stream gave `near_future_shift` samples later.
    pub near_future_accuracy: Option<f64>,
    /// Samples after which earlier labels are of no help; none where they always are.
    pub near_future_shift: Option<u64>,
    /// Mean over evaluations of the mean accuracy over the phases begun.
    pub average_anytime_accuracy: Option<f64>,
    /// Max minus last, mean over earlier phases; none without such.
    pub forgetting: Option<f64>,
    /// Last minus at its end, mean over earlier phases.
    pub backward_transfer: Option<f64>,
    /// Least since its end, mean over earlier phases.
    pub min_accuracy: Option<f64>,
    /// The same with the present phase's, over all phases begun.
    pub worst_case_accuracy: Option<f64>,
    /// Steps after the newest change of the stream until accuracy was 95 % of what it had been.
    pub recovery_steps: Option<u64>,
    /// Samples in the student's passes for each sample of the stream.
    pub student_passes_per_sample: Option<f64>,
    /// Checkpoints written by this run.
    pub checkpoints: u64,
    /// Most memory this process has held.
    pub peak_rss_mib: f64,
    /// Of the student's weights, running statistics and the teacher's.
    pub weights_sha256: String,
}
