//! The two view stages: weak views for the teacher and of the labelled samples, strong views
//! of what passed the filter.

use super::Policy;
use super::splice::splice;
use crate::data::{Batch, Judged, LabelledBatch, Lesson, Views, select};
use crate::error::Result;
use crate::method::EASY;
use crate::randomness::{Randomness, Stage};

/// The weak stage.
pub struct WeakViews {
    /// What the teacher sees.
    pub weak: Policy,
    /// What the student sees of labelled samples.
    pub labelled: Policy,
    /// Weak views of each sample.
    pub count: usize,
    /// The job's randomness.
    pub randomness: Randomness,
}

impl WeakViews {
    /// The views of a step.
    pub fn view(&mut self, batch: Batch) -> Result<Views> {
        let Batch { ticket, labelled, labels_known, unlabelled, paced } = batch;
        let labelled = labelled.map(|batch| {
            let mut draws = self.randomness.at(ticket.step, Stage::LabelledView);
            LabelledBatch { input: self.labelled.view(&batch.input, &mut draws), ..batch }
        });
        let mut draws = self.randomness.at(ticket.step, Stage::WeakView);
        let count = if ticket.barrier { 0 } else { self.count };
        let weak = (0..count).map(|_| self.weak.view(&unlabelled, &mut draws)).collect();
        Ok(Views { ticket, labelled, labels_known, unlabelled, weak, paced })
    }
}

/// The strong stage.
pub struct StrongViews {
    /// What the student sees of unlabelled samples.
    pub policy: Policy,
    /// Views of each sample.
    pub count: usize,
    /// Halves of two views are put together where the method finds a sample easy.
    pub spliced: bool,
    /// The job's randomness.
    pub randomness: Randomness,
}

impl StrongViews {
    /// The views of what passed the filter.
    pub fn view(&mut self, judged: Judged) -> Result<Lesson> {
        let Judged { ticket, labelled, labels_known, selected, index, judgement, findings, teacher_step } =
            judged;
        let mut draws = self.randomness.at(ticket.step, Stage::StrongView);
        let count = if ticket.barrier { 0 } else { self.count };
        let easy = judgement.rows.get(EASY).filter(|_| self.spliced).map(|easy| select(easy, index.as_ref()));
        let mut view = |_| {
            let first = self.policy.view(&selected, &mut draws);
            match &easy {
                Some(easy) => splice(&first, &self.policy.view(&selected, &mut draws), easy, &mut draws),
                None => first,
            }
        };
        let strong = (0..count).map(&mut view).collect();
        Ok(Lesson { ticket, labelled, labels_known, strong, index, judgement, findings, teacher_step })
    }
}
