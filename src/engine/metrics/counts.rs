//! Counts over steps, summed over an epoch and over the job.

use serde::{Deserialize, Serialize};
use sluicebox_core::report::CellCounts;
use std::collections::BTreeMap;

/// Most cells of a confusion matrix; samples of further cells enter the totals only.
const CELLS: usize = 4096;

/// Counts since the start of the epoch or of the job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Steps done.
    pub steps: u64,
    /// Unlabelled samples streamed.
    pub samples: u64,
    /// Samples by source, in the job's order.
    pub by_source: Vec<u64>,
    /// Samples by class of the pseudo-label.
    pub by_class: Vec<ClassCounts>,
    /// Samples by (true class, class of the pseudo-label), where the true class is known.
    pub confusion: BTreeMap<(u32, u32), CellCounts>,
    /// Samples that passed the filter.
    pub accepted: u64,
    /// Accepted samples whose class is known.
    pub accepted_known: u64,
    /// Accepted samples whose pseudo-label is their class.
    pub accepted_right: u64,
    /// Samples whose class is known.
    pub known: u64,
    /// Samples that were answered correctly before the student trained on them.
    pub right: u64,
    /// Accepted samples whose strong view the student gave the class of the pseudo-label.
    pub agreed: f64,
    /// Accepted samples for which `agreed` was measured.
    pub compared: u64,
    /// Sum over samples of the teacher's confidence.
    pub confidence: f64,
    /// Samples in the student's forward and backward passes for the unlabelled loss.
    pub student_samples: u64,
    /// Samples in the student's forward and backward passes for the labelled loss.
    pub labelled_samples: u64,
    /// Sums over steps of the labelled and the unlabelled loss.
    pub losses: [f64; 2],
    /// Sum over steps of the gradient's norm.
    pub gradient_norm: f64,
    /// Sum over steps of the teacher's lag, in steps.
    pub lag: u64,
}

/// Counts of samples with one class as pseudo-label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCounts {
    /// All samples.
    pub judged: u64,
    /// Samples that passed the filter.
    pub accepted: u64,
    /// Accepted samples whose class is known.
    pub accepted_known: u64,
    /// Accepted samples of this class.
    pub accepted_right: u64,
}

/// Returns `part` / `whole`; none if `whole` is 0.
pub fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Counts {
    /// Adds other counts.
    pub fn add(&mut self, other: &Counts) {
        self.steps += other.steps;
        self.samples += other.samples;
        self.add_sources(&other.by_source);
        self.by_class.resize(self.by_class.len().max(other.by_class.len()), ClassCounts::default());
        for (sum, other) in self.by_class.iter_mut().zip(&other.by_class) {
            sum.judged += other.judged;
            sum.accepted += other.accepted;
            sum.accepted_known += other.accepted_known;
            sum.accepted_right += other.accepted_right;
        }
        for (key, cell) in &other.confusion {
            self.add_cell(*key, *cell);
        }
        self.accepted += other.accepted;
        self.accepted_known += other.accepted_known;
        self.accepted_right += other.accepted_right;
        self.known += other.known;
        self.right += other.right;
        self.agreed += other.agreed;
        self.compared += other.compared;
        self.confidence += other.confidence;
        self.student_samples += other.student_samples;
        self.labelled_samples += other.labelled_samples;
        self.losses[0] += other.losses[0];
        self.losses[1] += other.losses[1];
        self.gradient_norm += other.gradient_norm;
        self.lag += other.lag;
    }

    /// Adds the number of samples taken from each of the job's sources.
    pub fn add_sources<T: Copy + Into<u64>>(&mut self, taken: &[T]) {
        self.by_source.resize(self.by_source.len().max(taken.len()), 0);
        self.by_source.iter_mut().zip(taken).for_each(|(sum, taken)| *sum += (*taken).into());
    }

    /// Adds a sample: `given` is the class of its pseudo-label, `predicted` the predicted class.
    pub fn add_sample(
        &mut self,
        (given, predicted): (usize, usize),
        truth: Option<u32>,
        confidence: f32,
        accepted: bool,
    ) {
        let (known, right) = (truth.is_some(), truth == Some(given as u32));
        let all = u64::from;
        if self.by_class.len() <= given {
            self.by_class.resize(given + 1, ClassCounts::default());
        }
        let class = &mut self.by_class[given];
        class.judged += 1;
        class.accepted += all(accepted);
        class.accepted_known += all(accepted && known);
        class.accepted_right += all(accepted && right);
        self.accepted += all(accepted);
        self.accepted_known += all(accepted && known);
        self.accepted_right += all(accepted && right);
        self.known += all(known);
        self.right += all(truth == Some(predicted as u32));
        self.confidence += f64::from(confidence);
        if let Some(truth) = truth {
            self.add_cell((truth, given as u32), CellCounts { samples: 1, accepted: all(accepted) });
        }
    }

    /// Adds a sample for which the network's answer is not finite: it is of no class, and not right.
    pub fn add_unanswered(&mut self, truth: Option<u32>) {
        self.known += u64::from(truth.is_some());
    }

    fn add_cell(&mut self, key: (u32, u32), cell: CellCounts) {
        if self.confusion.len() < CELLS || self.confusion.contains_key(&key) {
            let sum = self.confusion.entry(key).or_default();
            sum.samples += cell.samples;
            sum.accepted += cell.accepted;
        }
    }

    /// Fraction of samples that passed the filter, 0 to 1.
    pub fn accepted_fraction(&self) -> f64 {
        share(self.accepted, self.samples).unwrap_or(0.0)
    }

    /// Samples in the student's passes per sample of the stream.
    pub fn student_passes_per_sample(&self) -> Option<f64> {
        share(self.student_samples + self.labelled_samples, self.samples)
    }

    /// Fraction of accepted pseudo-labels that are right, where the class is known.
    pub fn pseudo_label_precision(&self) -> Option<f64> {
        share(self.accepted_right, self.accepted_known)
    }

    /// Fraction of the answers that are right, test-then-train, where the class is known.
    pub fn prequential_accuracy(&self) -> Option<f64> {
        share(self.right, self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_by_class_and_truth() {
        let mut counts = Counts::default();
        counts.add_sample((1, 1), Some(1), 0.9, true);
        counts.add_sample((1, 0), Some(0), 0.8, true);
        counts.add_sample((0, 0), None, 0.5, false);
        let mut twice = counts.clone();
        twice.add(&counts);
        assert_eq!(twice.by_class[1].judged, 4);
        assert_eq!((twice.by_class[1].accepted_known, twice.by_class[1].accepted_right), (4, 2));
        assert_eq!(twice.confusion[&(0, 1)], CellCounts { samples: 2, accepted: 2 });
        assert_eq!((twice.known, twice.right, twice.accepted), (4, 4, 4));
        assert!((twice.confidence - 4.4).abs() < 1e-6);
    }
}
