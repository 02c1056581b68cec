//! What is known of a run: its numbers at the end, and how it got there.

use crate::job::Job;
use crate::metrics::Summary;
use crate::report::Better;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What says how good a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Measure {
    /// The teacher's accuracy on held-out samples.
    Accuracy,
    /// Part of the stream's samples whose class the teacher gave before the student saw them.
    PrequentialAccuracy,
    /// Accuracy of epochs' teachers some samples ahead in the stream.
    NearFutureAccuracy,
    /// Mean over evaluations of the mean accuracy over the phases begun.
    AverageAnytimeAccuracy,
    /// What is lost of earlier phases: less is better.
    Forgetting,
    /// What later phases do for earlier ones.
    BackwardTransfer,
    /// Least accuracy on earlier phases since they ended.
    MinAccuracy,
    /// The same with the present phase's.
    WorstCaseAccuracy,
}

impl Measure {
    fn of(self, accuracy: Option<f64>, prequential: Option<f64>, continual: &Continual) -> Option<f64> {
        match self {
            Measure::Accuracy => accuracy,
            Measure::PrequentialAccuracy => prequential,
            Measure::NearFutureAccuracy => continual.near_future_accuracy,
            Measure::AverageAnytimeAccuracy => continual.average_anytime_accuracy,
            Measure::Forgetting => continual.forgetting,
            Measure::BackwardTransfer => continual.backward_transfer,
            Measure::MinAccuracy => continual.min_accuracy,
            Measure::WorstCaseAccuracy => continual.worst_case_accuracy,
        }
    }

    /// Which way is better.
    pub fn better(self) -> Better {
        if self == Measure::Forgetting { Better::Lower } else { Better::Higher }
    }

    /// What it is called in a title.
    pub fn about(self) -> &'static str {
        match self {
            Measure::Accuracy => "accuracy on held-out samples",
            Measure::PrequentialAccuracy => "prequential accuracy",
            Measure::NearFutureAccuracy => "near-future accuracy",
            Measure::AverageAnytimeAccuracy => "average anytime accuracy",
            Measure::Forgetting => "forgetting",
            Measure::BackwardTransfer => "backward transfer",
            Measure::MinAccuracy => "min-ACC",
            Measure::WorstCaseAccuracy => "WC-ACC",
        }
    }
}

/// How well a run learns one thing after the other; see the report's numbers of the same names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Continual {
    /// On what the stream gave some samples later.
    pub near_future_accuracy: Option<f64>,
    /// Mean over evaluations.
    pub average_anytime_accuracy: Option<f64>,
    /// Max minus last.
    pub forgetting: Option<f64>,
    /// Last minus at its end.
    pub backward_transfer: Option<f64>,
    /// On earlier phases.
    pub min_accuracy: Option<f64>,
    /// The same with the present phase's.
    pub worst_case_accuracy: Option<f64>,
}

/// Where a run was at the end of an epoch.
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
    /// The teacher's on held-out samples, where it was evaluated.
    pub accuracy: Option<f64>,
    /// Over the whole job so far.
    pub prequential_accuracy: Option<f64>,
    /// Over the phases so far.
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
    /// Where it computed.
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
    /// Part of the samples that passed the filter.
    pub accepted_fraction: f64,
    /// Part of the pseudo-labels that were right.
    pub pseudo_label_precision: Option<f64>,
    /// The teacher's at the last evaluation.
    pub accuracy: Option<f64>,
    /// Over the whole job.
    pub prequential_accuracy: Option<f64>,
    /// Over the job's phases.
    #[serde(flatten)]
    pub continual: Continual,
    /// Of the student's weights, running statistics and the teacher's.
    pub weights_sha256: String,
    /// How it got there, epoch by epoch.
    pub curve: Vec<Moment>,
}

impl Outcome {
    /// The outcome of a job that has ended, with its `curve`; none where that does not reach to
    /// the job's end.
    pub fn new(job: &Job, summary: Summary, curve: Vec<Moment>) -> Option<Self> {
        let last = curve.last().filter(|last| last.samples == summary.samples_seen)?;
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
            accuracy: summary.accuracy,
            prequential_accuracy: summary.prequential_accuracy,
            continual: last.continual,
            weights_sha256: summary.weights_sha256,
            curve,
        })
    }

    /// How good it is.
    pub fn quality(&self, measure: Measure) -> Option<f64> {
        measure.of(self.accuracy, self.prequential_accuracy, &self.continual)
    }

    /// How good it was after so many seconds: on the straight line between the evaluations before
    /// and after. None before the first and after the last.
    pub fn quality_at(&self, seconds: f64, measure: Measure) -> Option<f64> {
        let known = self.curve.iter().filter_map(|moment| {
            let quality = measure.of(moment.accuracy, moment.prequential_accuracy, &moment.continual);
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

    /// Samples a second.
    pub fn samples_per_s(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.samples as f64 / self.seconds)
    }
}

/// SHA-256 of a resolved job.
pub fn fingerprint(job: &Job) -> String {
    Sha256::digest(job.resolved()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An outcome with these (passes, seconds, accuracy) at its epochs' ends.
    pub fn outcome(curve: &[(u64, f64, Option<f64>)]) -> Outcome {
        let moment = |(at, (passes, seconds, accuracy)): (usize, &(u64, f64, Option<f64>))| Moment {
            epoch: at as u64 + 1,
            samples: 100 * (at as u64 + 1),
            passes: *passes,
            seconds: *seconds,
            accuracy: *accuracy,
            prequential_accuracy: None,
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
            accuracy: last.accuracy,
            prequential_accuracy: None,
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
