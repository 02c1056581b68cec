//! How good a teacher is on labelled samples: accuracy, confusion, calibration.

use crate::device::Compute;
use crate::messages::CorrectedTeacher;
use crate::model::api::Model;
use crate::stages::teacher::Inference;
use serde::Serialize;
use sluicebox_core::sample::{Format, Labelled};
use std::rc::Rc;
use tch::{Device, Tensor};

/// Confidence bins of the calibration error.
const BINS: usize = 15;

/// Samples per forward pass.
const BATCH: i64 = 500;

/// Result of an evaluation.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// Number of samples evaluated.
    pub samples: usize,
    /// Fraction classified correctly, 0 to 1.
    pub accuracy: f64,
    /// Accuracy of each class; none for a class without samples.
    pub class_accuracy: Vec<Option<f64>>,
    /// Number of samples, by `[truth][given]`; without those of `not_finite`.
    pub confusion: Vec<Vec<u64>>,
    /// Number of samples for which the answer is not finite. They have no class, and count as wrong.
    pub not_finite: u64,
    /// Mean gap between confidence and accuracy over 15 bins, weighted by their samples
    /// (expected calibration error: Guo et al. 2017, §2).
    pub calibration_error: f64,
}

/// Evaluates a teacher on labelled samples.
pub fn evaluate(
    model: &Rc<dyn Model>,
    compute: Compute,
    format: &Format,
    teacher: &CorrectedTeacher,
    samples: &Labelled,
) -> Evaluation {
    let inference = Inference::corrected(model.clone(), compute, teacher);
    let mut tally = Tally::new(format.classes.len());
    let scored = inference.in_batches(&samples.values, format, BATCH);
    for (probabilities, classes) in scored.zip(samples.classes.chunks(BATCH as usize)) {
        let (confidence, class) = probabilities.max_dim(1, false);
        tally.add(classes, &class.to_device(Device::Cpu), &confidence.to_device(Device::Cpu));
    }
    tally.evaluation()
}

struct Tally {
    confusion: Vec<Vec<u64>>,
    /// Number of samples of each class for which the answer is not finite.
    not_finite: Vec<u64>,
    /// Number of samples, number of right ones and sum of confidence of each bin.
    bins: [(u64, u64, f64); BINS],
}

impl Tally {
    fn new(classes: usize) -> Self {
        let (confusion, not_finite) = (vec![vec![0; classes]; classes], vec![0; classes]);
        Self { confusion, not_finite, bins: [(0, 0, 0.0); BINS] }
    }

    fn add(&mut self, truth: &[i64], given: &Tensor, confidence: &Tensor) {
        for (index, truth) in truth.iter().enumerate() {
            let given = given.int64_value(&[index as i64]);
            let confidence = confidence.double_value(&[index as i64]);
            if !confidence.is_finite() {
                self.not_finite[*truth as usize] += 1;
                continue;
            }
            self.confusion[*truth as usize][given as usize] += 1;
            let bin = &mut self.bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
            *bin = (bin.0 + 1, bin.1 + u64::from(given == *truth), bin.2 + confidence);
        }
    }

    fn evaluation(self) -> Evaluation {
        let not_finite: u64 = self.not_finite.iter().sum();
        let samples = self.confusion.iter().flatten().sum::<u64>() + not_finite;
        let diagonal = |class: usize| self.confusion[class][class];
        let right: u64 = (0..self.confusion.len()).map(diagonal).sum();
        let gaps = self.bins.iter().map(|(_, right, confidence)| (*right as f64 - confidence).abs());
        let of_class = |(class, row): (usize, &Vec<u64>)| {
            let count = row.iter().sum::<u64>() + self.not_finite[class];
            (count > 0).then(|| diagonal(class) as f64 / count as f64)
        };
        Evaluation {
            samples: samples as usize,
            accuracy: right as f64 / (samples as f64).max(1.0),
            class_accuracy: self.confusion.iter().enumerate().map(of_class).collect(),
            calibration_error: gaps.sum::<f64>() / (samples as f64).max(1.0),
            confusion: self.confusion,
            not_finite,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_counted_case() {
        let mut tally = Tally::new(3);
        let given = Tensor::from_slice(&[0i64, 1, 1, 0]);
        let confidence = Tensor::from_slice(&[1.0f64, 0.9, 0.9, 0.5]);
        tally.add(&[0, 1, 0, 0], &given, &confidence);
        let found = tally.evaluation();
        assert_eq!(found.confusion, [[2, 1, 0], [0, 1, 0], [0, 0, 0]]);
        assert_eq!(found.accuracy, 0.75);
        assert_eq!(found.class_accuracy, [Some(2.0 / 3.0), Some(1.0), None]);
        // Bins: {1.0 right}, {0.9 right, 0.9 wrong}, {0.5 right}.
        let expected = (0.0 + (1.0f64 - 1.8).abs() + (1.0f64 - 0.5).abs()) / 4.0;
        assert!((found.calibration_error - expected).abs() < 1e-9);
    }

    #[test]
    fn an_answer_that_is_not_finite_is_of_no_class_and_wrong() {
        let mut tally = Tally::new(2);
        let rows = Tensor::from_slice2(&[[f32::NAN, f32::NAN], [0.9, 0.1]]);
        let (confidence, class) = rows.max_dim(1, false);
        tally.add(&[0, 0], &class, &confidence);
        let found = tally.evaluation();
        assert_eq!((found.samples, found.not_finite), (2, 1));
        assert_eq!(found.confusion, [[1, 0], [0, 0]]);
        assert_eq!((found.accuracy, found.class_accuracy[0]), (0.5, Some(0.5)));
        assert!(found.calibration_error.is_finite());
    }
}
