//! The result of a run: its values at the end, and their curve over epochs.

use crate::engine::metrics::Summary;
use crate::job::Job;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sluicebox_core::report::Better;

/// Measure of a run's quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Measure {
    /// Accuracy of the answers on held-out samples.
    Accuracy,
    /// Accuracy of the teacher's network alone on held-out samples.
    NetworkAccuracy,
    /// Mean over classes of the accuracy of the answers on held-out samples of the class.
    BalancedAccuracy,
    /// Least accuracy of the answers on held-out samples of a class.
    WorstClassRecall,
    /// Fraction of the stream's samples that were answered correctly before the student saw them.
    PrequentialAccuracy,
    /// The same of the teacher's network alone.
    NetworkPrequentialAccuracy,
    /// Accuracy of the epochs' teacher networks alone on samples that come near_future_shift samples
    /// later in the stream.
    NearFutureAccuracy,
    /// Mean over evaluations of the mean accuracy over the phases begun.
    AverageAnytimeAccuracy,
    /// Accuracy lost on earlier phases; lower is better.
    Forgetting,
    /// Change in the accuracy on earlier phases through later ones.
    BackwardTransfer,
    /// Mean over earlier phases of the lowest accuracy since they ended.
    MinAccuracy,
    /// Mean over the phases begun: lowest accuracy on earlier ones, accuracy on the present one.
    WorstCaseAccuracy,
}

impl Measure {
    fn of(self, answered: &Answered, continual: &Continual) -> Option<f64> {
        match self {
            Measure::Accuracy => answered.accuracy,
            Measure::NetworkAccuracy => answered.network_accuracy,
            Measure::BalancedAccuracy => answered.balanced_accuracy,
            Measure::WorstClassRecall => answered.worst_class_recall,
            Measure::PrequentialAccuracy => answered.prequential_accuracy,
            Measure::NetworkPrequentialAccuracy => answered.network_prequential_accuracy,
            Measure::NearFutureAccuracy => continual.near_future_accuracy,
            Measure::AverageAnytimeAccuracy => continual.average_anytime_accuracy,
            Measure::Forgetting => continual.forgetting,
            Measure::BackwardTransfer => continual.backward_transfer,
            Measure::MinAccuracy => continual.min_accuracy,
            Measure::WorstCaseAccuracy => continual.worst_case_accuracy,
        }
    }

    /// Returns which direction is better.
    pub fn better(self) -> Better {
        if self == Measure::Forgetting { Better::Lower } else { Better::Higher }
    }

    /// Returns the measure beside which this one is shown: of the network alone for one of the answers, and the
    /// other way round. `held_out`: whether held-out samples are evaluated.
    pub fn other(self, held_out: bool) -> Measure {
        match self {
            Measure::Accuracy => Measure::NetworkAccuracy,
            Measure::NetworkAccuracy | Measure::BalancedAccuracy | Measure::WorstClassRecall => {
                Measure::Accuracy
            }
            Measure::PrequentialAccuracy => Measure::NetworkPrequentialAccuracy,
            Measure::NetworkPrequentialAccuracy => Measure::PrequentialAccuracy,
            _ if held_out => Measure::NetworkAccuracy,
            _ => Measure::NetworkPrequentialAccuracy,
        }
    }

    /// Returns whether held-out samples are evaluated for the measure.
    pub fn is_held_out(self) -> bool {
        use Measure::{Accuracy, BalancedAccuracy, NetworkAccuracy, WorstClassRecall};
        matches!(self, Accuracy | NetworkAccuracy | BalancedAccuracy | WorstClassRecall)
    }

    /// Returns what is measured: the answers, or the network alone.
    pub fn of_what(self) -> &'static str {
        match self {
            Measure::NetworkAccuracy | Measure::NetworkPrequentialAccuracy | Measure::NearFutureAccuracy => {
                "network"
            }
            _ => "answer",
        }
    }

    /// Returns the measure's name in titles.
    pub fn about(self) -> &'static str {
        match self {
            Measure::Accuracy => "accuracy on held-out samples",
            Measure::NetworkAccuracy => "network accuracy on held-out samples",
            Measure::BalancedAccuracy => "balanced accuracy on held-out samples",
            Measure::WorstClassRecall => "worst class recall on held-out samples",
            Measure::PrequentialAccuracy => "prequential accuracy",
            Measure::NetworkPrequentialAccuracy => "network prequential accuracy",
            Measure::NearFutureAccuracy => "near future accuracy",
            Measure::AverageAnytimeAccuracy => "average anytime accuracy",
            Measure::Forgetting => "forgetting",
            Measure::BackwardTransfer => "backward transfer",
            Measure::MinAccuracy => "min accuracy",
            Measure::WorstCaseAccuracy => "worst case accuracy",
        }
    }
}

/// Accuracies of the answers, and of the teacher's network alone; see the report's meters of the same names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answered {
    /// Accuracy of the answers on held-out samples, where they were evaluated.
    pub accuracy: Option<f64>,
    /// Accuracy of the network alone on held-out samples.
    pub network_accuracy: Option<f64>,
    /// Mean over classes of the accuracy of the answers on held-out samples of the class.
    pub balanced_accuracy: Option<f64>,
    /// Least accuracy of the answers on held-out samples of a class.
    pub worst_class_recall: Option<f64>,
    /// Prequential accuracy over the whole job so far.
    pub prequential_accuracy: Option<f64>,
    /// Prequential accuracy of the network alone over the whole job so far.
    pub network_prequential_accuracy: Option<f64>,
}

/// Measures of continual learning; see the report's meters of the same names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Continual {
    /// Accuracy on samples that came later in the stream.
    pub near_future_accuracy: Option<f64>,
    /// Mean over evaluations of the mean accuracy over the phases begun.
    pub average_anytime_accuracy: Option<f64>,
    /// Mean over earlier phases of the best accuracy minus the last one.
    pub forgetting: Option<f64>,
    /// Mean over earlier phases of the last accuracy minus that at the phase's end.
    pub backward_transfer: Option<f64>,
    /// Mean over earlier phases of the lowest accuracy since they ended.
    pub min_accuracy: Option<f64>,
    /// Mean over the phases begun: lowest accuracy on earlier ones, accuracy on the present one.
    pub worst_case_accuracy: Option<f64>,
}

/// State of a run at the end of an epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// The epoch.
    pub epoch: u64,
    /// Samples of the stream so far.
    pub samples: u64,
    /// Samples in the student's passes so far.
    pub passes: u64,
    /// Seconds of training so far, over all attempts.
    pub seconds: f64,
    /// Accuracies of answers and network.
    #[serde(flatten)]
    pub answered: Answered,
    /// Measures of continual learning over the phases so far.
    #[serde(flatten)]
    pub continual: Continual,
}

/// A finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Version of Sluicebox that ran it.
    pub sluicebox: String,
    /// SHA-256 of the resolved job.
    pub job_sha256: String,
    /// Device on which it ran.
    pub device: String,
    /// Epochs done.
    pub epochs: u64,
    /// Steps done.
    pub steps: u64,
    /// Samples of the stream.
    pub samples: u64,
    /// Samples in the student's passes.
    pub passes: u64,
    /// Seconds of training, without evaluation, over all attempts.
    pub seconds: f64,
    /// Fraction of the samples that passed the filter.
    pub accepted_fraction: f64,
    /// Fraction of the pseudo-labels that were right.
    pub pseudo_label_precision: Option<f64>,
    /// Accuracies of answers and network, at the last evaluation or over the whole job.
    #[serde(flatten)]
    pub answered: Answered,
    /// Measures of continual learning over the job's phases.
    #[serde(flatten)]
    pub continual: Continual,
    /// SHA-256 of the student's weights, its running statistics and the teacher's weights.
    pub weights_sha256: String,
    /// State at the end of each epoch.
    pub curve: Vec<Moment>,
}

impl Outcome {
    /// Creates the result of a job that has ended, with its `curve`; none where the curve does not
    /// reach the job's end.
    pub fn new(job: &Job, summary: Summary, curve: Vec<Moment>) -> Option<Self> {
        // A job that ends early does so a few steps after an epoch.
        let reaches = |last: &&Moment| last.samples == summary.samples_seen || summary.stopped_early;
        let last = curve.last().filter(reaches)?;
        Some(Self {
            sluicebox: env!("CARGO_PKG_VERSION").into(),
            job_sha256: fingerprint(job),
            device: summary.device,
            epochs: summary.epochs,
            steps: summary.steps,
            samples: summary.samples_seen,
            passes: last.passes,
            seconds: last.seconds,
            accepted_fraction: summary.accepted_fraction,
            pseudo_label_precision: summary.pseudo_label_precision,
            answered: Answered {
                accuracy: summary.accuracy,
                network_accuracy: summary.network_accuracy,
                balanced_accuracy: last.answered.balanced_accuracy,
                worst_class_recall: last.answered.worst_class_recall,
                prequential_accuracy: summary.prequential_accuracy,
                network_prequential_accuracy: summary.network_prequential_accuracy,
            },
            continual: last.continual,
            weights_sha256: summary.weights_sha256,
            curve,
        })
    }

    /// Returns the quality by `measure`.
    pub fn quality(&self, measure: Measure) -> Option<f64> {
        measure.of(&self.answered, &self.continual)
    }

    /// Returns the quality after `seconds`, interpolated linearly between the evaluations before
    /// and after; none before the first and after the last.
    pub fn quality_at(&self, seconds: f64, measure: Measure) -> Option<f64> {
        let known = self.curve.iter().filter_map(|moment| {
            let quality = measure.of(&moment.answered, &moment.continual);
            Some((moment.seconds, quality?))
        });
        let known: Vec<(f64, f64)> = known.collect();
        let after = known.iter().position(|(at, _)| *at >= seconds)?;
        let (end, to) = known[after];
        match after.checked_sub(1).map(|before| known[before]) {
            Some((begin, from)) => Some(from + (to - from) * (seconds - begin) / (end - begin)),
            None => (end == seconds).then_some(to),
        }
    }

    /// Returns the samples per second.
    pub fn samples_per_s(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.samples as f64 / self.seconds)
    }
}

/// Returns the SHA-256 of a resolved job.
pub fn fingerprint(job: &Job) -> String {
    Sha256::digest(job.resolved()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Creates a result with these (passes, seconds, accuracy) at its epochs' ends.
    pub fn outcome(curve: &[(u64, f64, Option<f64>)]) -> Outcome {
        let moment = |(at, (passes, seconds, accuracy)): (usize, &(u64, f64, Option<f64>))| Moment {
            epoch: at as u64 + 1,
            samples: 100 * (at as u64 + 1),
            passes: *passes,
            seconds: *seconds,
            answered: Answered { accuracy: *accuracy, ..Answered::default() },
            continual: Continual::default(),
        };
        let curve: Vec<Moment> = curve.iter().enumerate().map(moment).collect();
        let last = curve.last().unwrap().clone();
        Outcome {
            sluicebox: String::new(),
            job_sha256: String::new(),
            device: "cpu".into(),
            epochs: last.epoch,
            steps: 0,
            samples: last.samples,
            passes: last.passes,
            seconds: last.seconds,
            accepted_fraction: 0.5,
            pseudo_label_precision: None,
            answered: last.answered,
            continual: Continual::default(),
            weights_sha256: String::new(),
            curve,
        }
    }

    #[test]
    fn quality_between_evaluations_lies_on_a_line() {
        let found = outcome(&[(10, 1.0, Some(0.5)), (20, 2.0, None), (30, 3.0, Some(0.9))]);
        let at = |seconds| found.quality_at(seconds, Measure::Accuracy);
        assert_eq!((at(0.5), at(1.0), at(3.0), at(3.1)), (None, Some(0.5), Some(0.9), None));
        assert!((at(1.5).unwrap() - 0.6).abs() < 1e-12 && (at(2.5).unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(found.quality_at(2.0, Measure::PrequentialAccuracy), None);
    }
}
