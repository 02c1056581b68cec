//! What a method makes of the teacher's scores.

use crate::method::gate::Estimate;
use crate::student::answer::Answer;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// What a pseudo-label says.
#[derive(Debug)]
pub enum Target {
    /// `[B]` i64: one class a sample.
    Hard(Tensor),
    /// `[B, C]` f32: a distribution a sample.
    Soft(Tensor),
}

impl Target {
    /// A distribution over `classes` classes a sample: `[B, C]` f32.
    pub fn rows(&self, classes: i64) -> Tensor {
        match self {
            Target::Hard(given) => {
                let all = Tensor::arange(classes, (Kind::Int64, given.device()));
                given.unsqueeze(1).eq_tensor(&all).to_kind(Kind::Float)
            }
            Target::Soft(rows) => rows.shallow_clone(),
        }
    }

    /// The same of other samples: `change` is done to the tensor.
    pub fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Target {
        match self {
            Target::Hard(classes) => Target::Hard(change(classes)),
            Target::Soft(rows) => Target::Soft(change(rows)),
        }
    }
}

/// What the method makes of the teacher's scores.
#[derive(Debug)]
pub struct Judgement {
    /// `[B]` i64: the class of the pseudo-label.
    pub class: Tensor,
    /// `[B]` f32: its probability.
    pub confidence: Tensor,
    /// What the student is to learn.
    pub target: Target,
    /// `[B]` f32: weight in the unlabelled loss; 0 is rejected.
    pub weight: Tensor,
    /// `[B]` bool: what the ledger is to count as confident; none: what is accepted.
    pub confident: Option<Tensor>,
    /// `[C]` f32, or `[1]` where it is the same for all: the confidence from which on a class is
    /// accepted. None where the method knows no such thing.
    pub threshold: Option<Tensor>,
    /// Further tensors for the method's own loss, `[B, …]` each: selected with the samples.
    pub rows: BTreeMap<&'static str, Tensor>,
    /// The one of `rows` (`[B]` f32) that says what each sample counts in a further loss of the
    /// method's own: those that count go on to the student although they are rejected.
    pub further: Option<&'static str>,
    /// Further tensors for the method's own loss, of any shape.
    pub constants: BTreeMap<&'static str, Tensor>,
}

impl Judgement {
    /// Samples of `class` `[B]` with `confidence` `[B]`: their class is the target, `weight` `[B]`
    /// what each counts.
    pub fn hard(class: Tensor, confidence: Tensor, weight: Tensor) -> Self {
        Self {
            target: Target::Hard(class.shallow_clone()),
            class,
            confidence,
            weight,
            confident: None,
            threshold: None,
            rows: BTreeMap::new(),
            further: None,
            constants: BTreeMap::new(),
        }
    }

    /// The same with other rows of the teacher's for targets, `[B, C]`.
    pub fn soft(rows: Tensor, confidence: Tensor, class: Tensor, weight: Tensor) -> Self {
        Self { target: Target::Soft(rows), ..Self::hard(class, confidence, weight) }
    }

    /// The judgement of no sample.
    pub fn none(device: Device) -> Self {
        let empty = |kind| Tensor::zeros([0], (kind, device));
        Self::hard(empty(Kind::Int64), empty(Kind::Float), empty(Kind::Float))
    }

    /// `[B]` bool: what passed the filter.
    pub fn accepted(&self) -> Tensor {
        self.weight.gt(0.0)
    }

    /// `[B]` bool: what the student is to see.
    pub fn selected(&self) -> Tensor {
        match self.further.and_then(|further| self.rows.get(further)) {
            Some(further) => self.accepted().logical_or(&further.gt(0.0)),
            None => self.accepted(),
        }
    }

    /// The samples at `index` `[N]` i64 are to teach nothing.
    pub fn leave_out(&mut self, index: &Tensor) {
        self.weight = self.weight.index_fill(0, index, 0.0);
        if let Some(further) = self.further.and_then(|further| self.rows.get_mut(further)) {
            *further = further.index_fill(0, index, 0.0);
        }
    }
}

/// The rows of `tensor` `[B, …]` at `index` `[A]` i64: `[A, …]`; all of them without one.
pub fn select(tensor: &Tensor, index: Option<&Tensor>) -> Tensor {
    match index {
        Some(index) => tensor.index_select(0, index),
        None => tensor.shallow_clone(),
    }
}

/// What the filter found of a step beside its judgement.
#[derive(Debug)]
pub struct Findings {
    /// `[B]` i64: the classes that are answered.
    pub answered: Tensor,
    /// `[B]` f32: their probabilities.
    pub answered_confidence: Tensor,
    /// `[F]` f32: mean of the teacher's features.
    pub features: Tensor,
    /// How answers come from what the network says, where that is not the answer itself.
    pub answer: Option<Answer>,
    /// What the gate knows of each class, once it does.
    pub gate: Option<Vec<Estimate>>,
}
