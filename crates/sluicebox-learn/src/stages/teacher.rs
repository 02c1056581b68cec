//! The teach stage: scores the weak views with the teacher's present weights.

use crate::adapt::correction::PriorCorrection;
use crate::device::Compute;
use crate::input::{scaled, tensor};
use crate::messages::{CorrectedTeacher, LabelledScores, Scored, Scores, ViewScores, Views, Weights};
use crate::method::api::ViewRequest;
use crate::model::api::Model;
use crate::standardise::Scale;
use crate::weights::Replica;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Format, Values};
use std::rc::Rc;
use tch::{Kind, Tensor};

/// What a job answers for N samples.
#[derive(Debug)]
pub struct Answer {
    /// `[N, C]` f32: the answer's probabilities.
    pub probabilities: Tensor,
    /// `[N, C]` f32: those of the network alone; `None` where they are the answer.
    pub network: Option<Tensor>,
    /// `[N]` bool: whether the two networks of the job predict the same class; `None` where it has one.
    pub networks_agree: Option<Tensor>,
}

/// What the network says of N samples.
struct Probabilities {
    /// `[N, C]` f32
    rows: Tensor,
    /// `[N, F]`
    features: Tensor,
    /// `[N, outputs]` f32 each
    heads: Vec<Tensor>,
}

/// A model with one version of the weights, folded for inference.
pub struct Inference {
    model: Rc<dyn Model>,
    compute: Compute,
    folded: Vec<Tensor>,
    correction: Option<PriorCorrection>,
    scale: Option<Scale>,
}

impl Inference {
    /// Folds `weights` for inference without prior correction, on samples that are standardised already.
    pub fn new(model: Rc<dyn Model>, compute: Compute, weights: &Weights) -> Self {
        let compute = model.compute(compute);
        let folded = tch::no_grad(|| {
            let (parameters, buffers) = (weights.parameters.shallow_clone(), weights.buffers.shallow_clone());
            let replica = Replica::with(model.layout(), compute, parameters, buffers);
            model.fold(replica.parameters(), replica.buffers(), replica.copies(compute.kind()))
        });
        Self { model, compute, folded, correction: None, scale: None }
    }

    /// Folds a teacher's weights for inference with its prior correction, on samples as they are.
    pub fn corrected(model: Rc<dyn Model>, compute: Compute, teacher: &CorrectedTeacher) -> Self {
        let correction = teacher.correction.clone();
        let scale = teacher.scale.as_ref().map(Scale::share);
        Self { correction, scale, ..Self::new(model, compute, &teacher.weights) }
    }

    /// Answers samples `[N, …]` f32, by one pass of the network.
    pub fn answer(&self, samples: &Tensor) -> Answer {
        let Probabilities { rows: network, features, heads } = match &self.scale {
            Some(scale) => self.scores(&scale.apply(samples)),
            None => self.scores(samples),
        };
        let twin = self.model.twin().and_then(|twin| heads.get(twin));
        let networks_agree = twin.map(|twin| network.argmax(1, false).eq_tensor(&twin.argmax(1, false)));
        match &self.correction {
            Some(correction) => {
                let probabilities = tch::no_grad(|| {
                    let said = correction.prototypes.as_ref().map(|prototypes| prototypes.answer(&features));
                    correction.apply(said.as_ref().unwrap_or(&network), samples)
                });
                Answer { probabilities, network: Some(network), networks_agree }
            }
            None => Answer { probabilities: network, network: None, networks_agree },
        }
    }

    /// Answers `values` in batches of at most `batch` samples.
    pub fn in_batches<'a>(
        &'a self,
        values: &Values,
        format: &'a Format,
        batch: i64,
    ) -> impl Iterator<Item = Answer> + 'a {
        let parts = tensor(values, format.shape).split(batch, 0).into_iter();
        parts.map(|part| self.answer(&scaled(&self.compute.upload(&part), format.scale)))
    }

    /// Returns the network's probabilities `[N, C]` f32 and features `[N, F]` of a batch `[N, …]` f32.
    pub fn probabilities(&self, batch: &Tensor) -> (Tensor, Tensor) {
        let Probabilities { rows, features, .. } = self.scores(batch);
        (rows, features)
    }

    fn scores(&self, batch: &Tensor) -> Probabilities {
        tch::no_grad(|| {
            let output = self.model.infer(&self.folded, &self.model.input(self.compute, batch));
            let rows = output.logits.softmax(1, Kind::Float);
            Probabilities { rows, features: output.features, heads: output.heads }
        })
    }
}

/// The network with the weights that arrived on the feedback loop.
pub struct Teacher {
    model: Rc<dyn Model>,
    compute: Compute,
    wanted: ViewRequest,
    /// `[1, …]` f32: a blank sample to score beside, in jobs whose answers are corrected by it.
    pub blank: Option<Tensor>,
    present: Option<(u64, Inference)>,
}

impl Teacher {
    /// Creates a teacher that still has no weights.
    pub fn new(model: Rc<dyn Model>, compute: Compute, wanted: ViewRequest) -> Self {
        Self { model, compute, wanted, blank: None, present: None }
    }

    /// Replaces the weights by a newer version.
    pub fn receive(&mut self, weights: &Weights) {
        let inference = Inference::new(self.model.clone(), self.compute, weights);
        self.present = Some((weights.step, inference));
    }

    /// Scores the views of a step.
    pub fn score(&mut self, views: Views) -> Result<Scored> {
        let Some((teacher_step, inference)) = &self.present else {
            return Err(Error::Engine("the teacher has no weights".into()));
        };
        let Views { batch, weak } = views;
        let (mut first, mut probabilities) = (None, Vec::new());
        for view in &weak {
            let Probabilities { rows, features, heads } = inference.scores(view);
            probabilities.push(rows);
            first.get_or_insert((features, heads));
        }
        let labelled = batch.labelled.as_ref().filter(|_| self.wanted.labelled_scores);
        let labelled = labelled.map(|labelled| {
            let Probabilities { rows, features, heads } = inference.scores(&labelled.input);
            let (input, classes) = (labelled.input.shallow_clone(), labelled.classes.shallow_clone());
            let (keys, further) = (labelled.keys.clone(), labelled.further.iter());
            let further = further.map(|view| {
                let (probabilities, features) = inference.probabilities(view);
                ViewScores { probabilities, features }
            });
            let further = further.collect();
            LabelledScores { probabilities: rows, features, heads, input, classes, keys, further }
        });
        let none = || Tensor::empty([0], (Kind::Float, self.compute.device));
        let (features, heads) = first.unwrap_or_else(|| (none(), Vec::new()));
        let scores = Scores {
            step: batch.info.step,
            input: weak.first().filter(|_| self.wanted.input).map_or_else(none, Tensor::shallow_clone),
            unlabelled: probabilities,
            labelled,
            features,
            heads,
            alarm: batch.info.decay_replay,
            ledger_stats: None,
        };
        let fresh = batch.adapt.as_ref().and_then(|adapt| adapt.fresh.as_ref());
        let fresh = fresh.map(|fresh| inference.probabilities(&fresh.input).0);
        let blank = self.blank.as_ref().map(|blank| inference.probabilities(blank).0);
        let teacher_step = *teacher_step;
        Ok(Scored { batch, scores, fresh, blank, teacher_step })
    }
}
