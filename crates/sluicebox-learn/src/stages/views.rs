//! The two view stages: weak views of unlabelled samples and views of labelled samples, then the student's
//! views of the samples that passed the filter.

use crate::augmentation::Policy;
use crate::augmentation::block_mask::channel_means;
use crate::augmentation::splice::splice;
use crate::augmentation::turn::turned;
use crate::messages::{Batch, FurtherUpdates, LabelledBatch, Selected, TrainingBatch, Views};
use crate::method::api::{EASY, View};
use crate::pseudo_labels::select;
use sluicebox_core::error::Result;
use sluicebox_core::rng::{Draws, Randomness, Stage};
use tch::Tensor;

/// The weak stage.
pub struct WeakViews {
    /// Augmentation of the teacher's views.
    pub weak: Policy,
    /// Augmentation of the student's views of labelled samples.
    pub labelled: Policy,
    /// Further views of labelled samples.
    pub further_labelled: Vec<StudentView>,
    /// Number of weak views per sample.
    pub count: usize,
    /// The job's randomness.
    pub randomness: Randomness,
}

impl WeakViews {
    /// Makes the views of a step.
    pub fn view(&mut self, mut batch: Batch) -> Result<Views> {
        let info = &batch.info;
        batch.labelled = batch.labelled.map(|labelled| {
            let mut draws = self.randomness.at(info.step, Stage::LabelledView);
            let input = self.labelled.view(&labelled.input, &mut draws);
            let further =
                self.further_labelled.iter().map(|view| view.of(&labelled.input, None, &mut draws)).collect();
            LabelledBatch { input, further, ..labelled }
        });
        let info = &batch.info;
        batch.further = batch.further.map(|FurtherUpdates { labelled, each, warm_up }| {
            let mut draws = self.randomness.at(info.step, Stage::FurtherView);
            let labelled =
                LabelledBatch { input: self.labelled.view(&labelled.input, &mut draws), ..labelled };
            FurtherUpdates { labelled, each, warm_up }
        });
        let mut draws = self.randomness.at(info.step, Stage::WeakView);
        let count = if info.is_empty() { 0 } else { self.count };
        let weak = (0..count).map(|_| self.weak.view(&batch.unlabelled, &mut draws)).collect();
        Ok(Views { batch, weak })
    }
}

/// One of the student's views.
pub struct StudentView {
    /// What is done beside the augmentations.
    pub view: View,
    /// Its augmentations.
    pub policy: Policy,
}

impl StudentView {
    /// Makes the view of `samples`, of which those above 0 in `easy` are easy.
    fn of(&self, samples: &Tensor, easy: Option<&Tensor>, draws: &mut Draws) -> Tensor {
        let first = self.policy.view(samples, draws);
        match (&self.view, easy) {
            (View::Spliced, Some(easy)) => splice(&first, &self.policy.view(samples, draws), easy, draws),
            (View::Turned, _) => turned(&first),
            (View::Masked(blocks), _) => blocks.mask(&first, &channel_means(&first), draws),
            _ => first,
        }
    }
}

/// The strong stage.
pub struct StrongViews {
    /// The student's views of each unlabelled sample.
    pub views: Vec<StudentView>,
    /// The job's randomness.
    pub randomness: Randomness,
}

impl StrongViews {
    /// Makes the views of the samples that passed the filter.
    pub fn view(&mut self, selected: Selected) -> Result<TrainingBatch> {
        let Selected { samples, mut training_batch } = selected;
        let TrainingBatch { info, pseudo_labels, index, .. } = &training_batch;
        let mut draws = self.randomness.at(info.step, Stage::StrongView);
        let count = if info.is_empty() || !info.judged { 0 } else { self.views.len() };
        let easy = pseudo_labels.rows.get(EASY).map(|easy| select(easy, index.as_ref()));
        let views = self.views.iter().take(count);
        training_batch.strong = views.map(|view| view.of(&samples, easy.as_ref(), &mut draws)).collect();
        Ok(training_batch)
    }
}
