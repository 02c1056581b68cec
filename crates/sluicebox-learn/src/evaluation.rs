//! How good a teacher is on labelled samples: accuracy, confusion, calibration. All of it is of the teacher's
//! answer, in which the prior correction and the experts may have a part; the accuracy of the network alone
//! comes with it.

use crate::confusion_matrix::ConfusionMatrix;
use crate::device::Compute;
use crate::messages::CorrectedTeacher;
use crate::model::api::Model;
use crate::stages::teacher::{Answer, Inference};
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
    /// Fraction answered correctly, 0 to 1.
    pub accuracy: f64,
    /// Fraction that the network alone classifies correctly: `accuracy` where nothing else has a part in the answer.
    pub network_accuracy: f64,
    /// Accuracy of each class; none for a class without samples.
    pub class_accuracy: Vec<Option<f64>>,
    /// Mean over classes with samples of each one's accuracy; none without samples.
    pub balanced_accuracy: Option<f64>,
    /// Least accuracy of a class with samples.
    pub worst_class_recall: Option<f64>,
    /// Number of samples, by `[truth][given]`; without those of `not_finite`.
    pub confusion: ConfusionMatrix,
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
    for (answer, classes) in scored.zip(samples.classes.chunks(BATCH as usize)) {
        tally.add(classes, &answer);
    }
    tally.evaluation()
}

struct Tally {
    confusion: ConfusionMatrix,
    /// Number of samples that the network alone classifies correctly.
    network_right: u64,
    /// Number of samples of each class for which the answer is not finite.
    not_finite: Vec<u64>,
    /// Number of samples, number of right ones and sum of confidence of each bin.
    bins: [(u64, u64, f64); BINS],
}

impl Tally {
    fn new(classes: usize) -> Self {
        let (confusion, not_finite) = (ConfusionMatrix::new(classes), vec![0; classes]);
        Self { confusion, network_right: 0, not_finite, bins: [(0, 0, 0.0); BINS] }
    }

    fn add(&mut self, truth: &[i64], answer: &Answer) {
        let likeliest = |probabilities: &Tensor| {
            let (confidence, class) = probabilities.max_dim(1, false);
            (confidence.to_device(Device::Cpu), class.to_device(Device::Cpu))
        };
        let (confidence, given) = likeliest(&answer.probabilities);
        let network = answer.network.as_ref().map(|network| likeliest(network).1);
        for (index, truth) in truth.iter().enumerate() {
            let class = |given: &Tensor| given.int64_value(&[index as i64]);
            let confidence = confidence.double_value(&[index as i64]);
            let right = confidence.is_finite() && class(&given) == *truth;
            self.network_right += u64::from(
                network.as_ref().map_or(right, |network| confidence.is_finite() && class(network) == *truth),
            );
            if !confidence.is_finite() {
                self.not_finite[*truth as usize] += 1;
                continue;
            }
            let right = u64::from(right);
            self.confusion.add(*truth as u32, class(&given) as u32);
            let bin = &mut self.bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
            *bin = (bin.0 + 1, bin.1 + right, bin.2 + confidence);
        }
    }

    fn evaluation(self) -> Evaluation {
        let by_class: Vec<(u64, u64)> = self
            .confusion
            .by_class()
            .into_iter()
            .zip(&self.not_finite)
            .map(|((all, right), not_finite)| (all + not_finite, right))
            .collect();
        let not_finite = self.not_finite.iter().sum();
        let samples: u64 = by_class.iter().map(|(all, _)| all).sum();
        let gaps = self.bins.iter().map(|(_, right, confidence)| (*right as f64 - confidence).abs());
        let share = |part: u64| part as f64 / (samples as f64).max(1.0);
        let of_class = |(all, right): (u64, u64)| (all > 0).then(|| right as f64 / all as f64);
        let class_accuracy: Vec<Option<f64>> = by_class.into_iter().map(of_class).collect();
        let known: Vec<f64> = class_accuracy.iter().flatten().copied().collect();
        Evaluation {
            samples: samples as usize,
            accuracy: share(self.confusion.right()),
            network_accuracy: share(self.network_right),
            balanced_accuracy: (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64),
            worst_class_recall: known.into_iter().reduce(f64::min),
            class_accuracy,
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
        let rows = |rows: [[f64; 3]; 4]| Tensor::from_slice2(&rows);
        let answer = Answer {
            probabilities: rows([[1.0, 0.0, 0.0], [0.1, 0.9, 0.0], [0.0, 0.9, 0.1], [0.5, 0.2, 0.3]]),
            network: Some(rows([[1.0, 0.0, 0.0], [0.6, 0.4, 0.0], [0.0, 0.9, 0.1], [0.2, 0.5, 0.3]])),
            networks_agree: None,
        };
        tally.add(&[0, 1, 0, 0], &answer);
        let found = tally.evaluation();
        assert_eq!(serde_json::to_string(&found.confusion).unwrap(), "[[2,1,0],[0,1,0],[0,0,0]]");
        assert_eq!((found.accuracy, found.network_accuracy), (0.75, 0.25));
        assert_eq!(found.class_accuracy, [Some(2.0 / 3.0), Some(1.0), None]);
        assert!((found.balanced_accuracy.unwrap() - 5.0 / 6.0).abs() < 1e-12);
        assert_eq!(found.worst_class_recall, Some(2.0 / 3.0));
        // Bins: {1.0 right}, {0.9 right, 0.9 wrong}, {0.5 right}.
        let expected = (0.0 + (1.0f64 - 1.8).abs() + (1.0f64 - 0.5).abs()) / 4.0;
        assert!((found.calibration_error - expected).abs() < 1e-9);
    }

    #[test]
    fn an_answer_that_is_not_finite_is_of_no_class_and_wrong() {
        let mut tally = Tally::new(2);
        let probabilities = Tensor::from_slice2(&[[f32::NAN, f32::NAN], [0.9, 0.1]]);
        tally.add(&[0, 0], &Answer { probabilities, network: None, networks_agree: None });
        let found = tally.evaluation();
        assert_eq!((found.samples, found.not_finite), (2, 1));
        assert_eq!(serde_json::to_string(&found.confusion).unwrap(), "[[1,0],[0,0]]");
        assert_eq!(found.network_accuracy, 0.5);
        assert_eq!((found.accuracy, found.class_accuracy[0]), (0.5, Some(0.5)));
        assert!(found.calibration_error.is_finite());
    }
}
