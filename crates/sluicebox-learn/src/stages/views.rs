//! The two view stages: weak views of unlabelled samples and views of labelled samples, then strong
//! views of the samples that passed the filter.

use crate::augmentation::Policy;
use crate::augmentation::splice::splice;
use crate::messages::{Batch, FurtherUpdates, LabelledBatch, Selected, TrainingBatch, Views};
use crate::method::api::EASY;
use crate::pseudo_labels::select;
use sluicebox_core::error::Result;
use sluicebox_core::rng::{Randomness, Stage};

/// The weak stage.
pub struct WeakViews {
    /// Augmentation of the teacher's views.
    pub weak: Policy,
    /// Augmentation of the student's views of labelled samples.
    pub labelled: Policy,
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
            LabelledBatch { input: self.labelled.view(&labelled.input, &mut draws), ..labelled }
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

/// The strong stage.
pub struct StrongViews {
    /// Augmentation of the student's views of unlabelled samples.
    pub policy: Policy,
    /// Number of views per sample.
    pub count: usize,
    /// Whether samples that the method finds easy get spliced views.
    pub spliced: bool,
    /// The job's randomness.
    pub randomness: Randomness,
}

impl StrongViews {
    /// Makes the views of the samples that passed the filter.
    pub fn view(&mut self, selected: Selected) -> Result<TrainingBatch> {
        let Selected { samples, mut training_batch } = selected;
        let TrainingBatch { info, pseudo_labels, index, .. } = &training_batch;
        let mut draws = self.randomness.at(info.step, Stage::StrongView);
        let count = if info.is_empty() || !info.judged { 0 } else { self.count };
        let easy =
            pseudo_labels.rows.get(EASY).filter(|_| self.spliced).map(|easy| select(easy, index.as_ref()));
        let mut view = |_| {
            let first = self.policy.view(&samples, &mut draws);
            match &easy {
                Some(easy) => splice(&first, &self.policy.view(&samples, &mut draws), easy, &mut draws),
                None => first,
            }
        };
        training_batch.strong = (0..count).map(&mut view).collect();
        Ok(training_batch)
    }
}
