//! Evaluates the teacher on held-out samples: on all of them, and on those of each phase that has begun.

use crate::engine::metrics::counts::share;
use sluicebox_core::sample::{Format, Labelled, Values};
use sluicebox_core::step_notes::Probe;
use sluicebox_learn::confusion_matrix::ConfusionMatrix;
use sluicebox_learn::device::Compute;
use sluicebox_learn::evaluation::{Evaluation, evaluate};
use sluicebox_learn::messages::{CorrectedTeacher, Weights};
use sluicebox_learn::model::api::Model;
use sluicebox_learn::standardise::Scale;
use sluicebox_stream::scenario::phases::Phases;
use sluicebox_stream::source::api::HeldOut;
use std::rc::Rc;

/// Everything that the reporter needs to evaluate the teacher.
pub struct Evaluator {
    /// The network.
    pub model: Rc<dyn Model>,
    /// Device and precision.
    pub compute: Compute,
    /// Held-out samples.
    pub held_out: Option<Box<dyn HeldOut>>,
    /// Shape, type and classes of samples.
    pub format: Format,
    /// Phases of the job's scenario, if it has any.
    pub phases: Option<Phases>,
    /// Epochs between evaluations; 0 is never.
    pub every_epochs: u64,
}

impl Evaluator {
    /// Evaluates a teacher on the held-out samples as they are after `streamed` samples. Also returns the
    /// accuracy on each phase that has begun; a job without phases has one.
    pub fn evaluate(
        &self,
        teacher: &CorrectedTeacher,
        streamed: u64,
    ) -> Option<(Evaluation, Vec<Option<f64>>)> {
        let held_out = self.held_out.as_ref()?;
        let found = self.on(teacher, &held_out.at(streamed));
        let by_phase = match &self.phases {
            None => vec![Some(found.accuracy)],
            Some(phases) if phases.are_domains() => (0..phases.begun(streamed))
                .map(|phase| Some(self.on(teacher, &held_out.in_phase(phase, streamed)?).accuracy))
                .collect(),
            Some(phases) => by_phase(&found.confusion, phases, phases.begun(streamed)),
        };
        Some((found, by_phase))
    }

    /// Returns how many of a probe's samples have a known class, and for how many of those the network with
    /// `weights` alone predicts it, on samples standardised by `scale`.
    pub fn test(&self, weights: Weights, scale: Option<Scale>, probe: &Probe) -> (u64, u64) {
        let length = self.format.shape.len();
        let mut known = Labelled { values: Values::none(self.format.dtype), classes: Vec::new() };
        for (at, class) in probe.truth.reveal().iter().enumerate().filter(|(_, class)| **class >= 0) {
            known.values.extend_from(&probe.values, at * length..(at + 1) * length);
            known.classes.push(i64::from(*class));
        }
        if known.is_empty() {
            return (0, 0);
        }
        let teacher = CorrectedTeacher { weights, correction: None, scale };
        (known.len() as u64, self.on(&teacher, &known).confusion.right())
    }

    fn on(&self, teacher: &CorrectedTeacher, samples: &Labelled) -> Evaluation {
        evaluate(&self.model, self.compute, &self.format, teacher, samples)
    }
}

/// Returns the accuracy over the classes of each of the first `begun` phases.
fn by_phase(confusion: &ConfusionMatrix, phases: &Phases, begun: usize) -> Vec<Option<f64>> {
    let mut sums = vec![(0, 0); begun];
    for (class, (samples, correct)) in confusion.by_class().into_iter().enumerate() {
        if let Some((all, right)) = phases.of_class(class).and_then(|phase| sums.get_mut(phase)) {
            *all += samples;
            *right += correct;
        }
    }
    sums.into_iter().map(|(all, right)| share(right, all)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::{Dtype, Shape};
    use sluicebox_stream::scenario::Scenario;

    #[test]
    fn accuracy_by_phase_by_hand() {
        let classes = ["a", "b", "c", "d"].map(str::to_string).to_vec();
        let shape = Shape::Vector { features: 1 };
        let format = Format { shape, dtype: Dtype::F32, scale: 1.0, classes };
        let scenario = Scenario { phases: 2, ..Scenario::default() };
        let phases = Phases::new(&scenario, &format).unwrap().unwrap();
        let mut confusion = ConfusionMatrix::new(4);
        for (truth, given, samples) in [(0, 0, 3), (0, 1, 1), (1, 1, 2), (1, 3, 4), (2, 0, 1), (3, 3, 5)] {
            (0..samples).for_each(|_| confusion.add(truth, given));
        }
        assert_eq!(by_phase(&confusion, &phases, 1), [Some(0.5)]);
        assert_eq!(by_phase(&confusion, &phases, 2), [Some(0.5), Some(5.0 / 6.0)]);
        assert_eq!(by_phase(&ConfusionMatrix::new(4), &phases, 2), [None, None]);
    }
}
