//! Pseudo-labels: what a method makes of the teacher's scores.

use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Target of a pseudo-label.
#[derive(Debug)]
pub enum Target {
    /// `[B]` i64: one class per sample.
    Hard(Tensor),
    /// `[B, C]` f32: one distribution per sample.
    Soft(Tensor),
}

impl Target {
    /// Returns one distribution over `classes` classes per sample: `[B, C]` f32.
    pub fn rows(&self, classes: i64) -> Tensor {
        match self {
            Target::Hard(given) => {
                let all = Tensor::arange(classes, (Kind::Int64, given.device()));
                given.unsqueeze(1).eq_tensor(&all).to_kind(Kind::Float)
            }
            Target::Soft(rows) => rows.shallow_clone(),
        }
    }

    /// Applies `change` to the tensor and keeps the kind of target.
    pub fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Target {
        match self {
            Target::Hard(classes) => Target::Hard(change(classes)),
            Target::Soft(rows) => Target::Soft(change(rows)),
        }
    }
}

/// Name of the entry of [`PseudoLabels::constants`] with the teacher's mean probabilities before any correction, `[C]` f32,
/// in jobs that ask for it (`regularise.margin`).
pub const MEAN: &str = "mean";

/// What the student learns from the step's labelled samples in place of their labels.
#[derive(Debug)]
pub struct JudgedLabels {
    /// Targets of the L labelled samples.
    pub target: Target,
    /// `[L]` f32: factors of their losses; `None`: all 1.
    pub weight: Option<Tensor>,
    /// Further tensors for the method's own loss, `[L, …]` each.
    pub rows: BTreeMap<&'static str, Tensor>,
}

impl JudgedLabels {
    /// Leaves the classes `[L]` i64 as they are.
    pub fn as_given(classes: &Tensor) -> Self {
        Self { target: Target::Hard(classes.shallow_clone()), weight: None, rows: BTreeMap::new() }
    }

    /// Applies `change` to all tensors.
    pub fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            target: self.target.map(&change),
            weight: self.weight.as_ref().map(&change),
            rows: self.rows.iter().map(|(name, tensor)| (*name, change(tensor))).collect(),
        }
    }
}

/// Pseudo-labels of a step's unlabelled samples.
#[derive(Debug)]
pub struct PseudoLabels {
    /// `[B]` i64: the class of the pseudo-label.
    pub class: Tensor,
    /// `[B]` f32: its probability.
    pub confidence: Tensor,
    /// Target of the unlabelled loss.
    pub target: Target,
    /// `[B]` f32: weight in the unlabelled loss; 0 means rejected.
    pub weight: Tensor,
    /// `[B]` bool: whether the ledger counts the sample as confident; `None` means the accepted ones.
    pub confident: Option<Tensor>,
    /// `[C]` f32, or `[1]` for all classes alike: the least confidence at which a class is
    /// accepted. `None` where the method has no threshold.
    pub threshold: Option<Tensor>,
    /// Further tensors for the method's own loss, `[B, …]` each: selected together with the samples.
    pub rows: BTreeMap<&'static str, Tensor>,
    /// Name of the entry of `rows` (`[B]` f32) with each sample's weight in a further loss of the
    /// method's own: samples with a weight above 0 go on to the student even if they are rejected.
    pub further: Option<&'static str>,
    /// Further tensors for the method's own loss, of any shape.
    pub constants: BTreeMap<&'static str, Tensor>,
    /// What is learned from the labelled samples; `None`: their labels. The filter hands it on with those samples.
    pub labelled: Option<JudgedLabels>,
}

impl PseudoLabels {
    /// Creates hard pseudo-labels from `class` `[B]`, `confidence` `[B]` and `weight` `[B]` in the loss.
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
            labelled: None,
        }
    }

    /// Creates soft pseudo-labels: `rows` `[B, C]` are the targets.
    pub fn soft(rows: Tensor, confidence: Tensor, class: Tensor, weight: Tensor) -> Self {
        Self { target: Target::Soft(rows), ..Self::hard(class, confidence, weight) }
    }

    /// Creates the pseudo-labels of samples with these probabilities `[B, C]` of which none is accepted.
    pub fn rejected(rows: &Tensor) -> Self {
        let (confidence, class) = rows.max_dim(1, false);
        let weight = confidence.zeros_like();
        Self::hard(class, confidence, weight)
    }

    /// Creates pseudo-labels of no sample.
    pub fn none(device: Device) -> Self {
        let empty = |kind| Tensor::zeros([0], (kind, device));
        Self::hard(empty(Kind::Int64), empty(Kind::Float), empty(Kind::Float))
    }

    /// Returns the same pseudo-labels on `device`; on their own they share memory.
    pub fn on(&self, device: Device) -> Self {
        let here = |tensor: &Tensor| tensor.to_device(device);
        let all = |tensors: &BTreeMap<&'static str, Tensor>| {
            tensors.iter().map(|(name, tensor)| (*name, here(tensor))).collect()
        };
        Self {
            class: here(&self.class),
            confidence: here(&self.confidence),
            target: self.target.map(here),
            weight: here(&self.weight),
            confident: self.confident.as_ref().map(here),
            threshold: self.threshold.as_ref().map(here),
            rows: all(&self.rows),
            further: self.further,
            constants: all(&self.constants),
            labelled: self.labelled.as_ref().map(|labelled| labelled.map(here)),
        }
    }

    /// Returns `[B]` bool: whether the sample passed the filter.
    pub fn accepted(&self) -> Tensor {
        self.weight.gt(0.0)
    }

    /// Returns `[B]` bool: whether the sample goes on to the student.
    pub fn selected(&self) -> Tensor {
        match self.further.and_then(|further| self.rows.get(further)) {
            Some(further) => self.accepted().logical_or(&further.gt(0.0)),
            None => self.accepted(),
        }
    }

    /// Excludes from the unlabelled losses the samples for which `kept` `[B]` bool is false.
    pub fn keep(&mut self, kept: &Tensor) {
        self.weight = &self.weight * kept;
        if let Some(further) = self.further.and_then(|further| self.rows.get_mut(further)) {
            *further = &*further * kept;
        }
    }

    /// Excludes the samples at `index` `[N]` i64 from the unlabelled losses.
    pub fn leave_out(&mut self, index: &Tensor) {
        self.weight = self.weight.index_fill(0, index, 0.0);
        if let Some(further) = self.further.and_then(|further| self.rows.get_mut(further)) {
            *further = further.index_fill(0, index, 0.0);
        }
    }
}

/// Returns the rows of `tensor` `[B, …]` at `index` `[A]` i64: `[A, …]`; all rows without an index.
pub fn select(tensor: &Tensor, index: Option<&Tensor>) -> Tensor {
    match index {
        Some(index) => tensor.index_select(0, index),
        None => tensor.shallow_clone(),
    }
}

/// The gate's estimate for a class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Least accepted confidence; `None` where the class is closed.
    pub threshold: Option<f32>,
    /// Precision of the class's pseudo-labels at that threshold, or at the highest one where the class is closed.
    pub precision: f64,
}

/// Filter statistics of a step.
#[derive(Debug)]
pub struct FilterStats {
    /// `[B]` i64: predicted classes, after prior correction.
    pub predicted: Tensor,
    /// `[B]` i64: classes that the network alone predicts; `None` where its probabilities are used unchanged.
    pub network_predicted: Option<Tensor>,
    /// `[B]` f32: probabilities of the predicted classes.
    pub predicted_confidence: Tensor,
    /// `[B]` bool: whether the two networks of the job predict different classes; `None` where it has one.
    pub disagreed: Option<Tensor>,
    /// `[1]` i64: number of the step's labelled samples that are learned with another class than their label; `None` where labels
    /// are not corrected.
    pub corrected: Option<Tensor>,
    /// `[F]` f32: mean of the teacher's features.
    pub features: Tensor,
    /// The gate's estimate for each class, once it has enough evidence.
    pub gate: Option<Vec<Estimate>>,
}

impl FilterStats {
    /// Returns the statistics of no sample.
    pub fn none(device: Device) -> Self {
        let empty = |kind| Tensor::zeros([0], (kind, device));
        Self {
            predicted: empty(Kind::Int64),
            network_predicted: None,
            predicted_confidence: empty(Kind::Float),
            disagreed: None,
            corrected: None,
            features: empty(Kind::Float),
            gate: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_excluded_has_no_weight_in_any_loss() {
        let list = |tensor: &Tensor| Vec::<f32>::try_from(tensor).unwrap();
        let labels = || {
            let rows = BTreeMap::from([("beside", Tensor::from_slice(&[0.5f32, 0.5, 0.5]))]);
            let (class, ones) = (Tensor::from_slice(&[0i64, 1, 1]), || Tensor::from_slice(&[1f32, 1.0, 1.0]));
            PseudoLabels { rows, further: Some("beside"), ..PseudoLabels::hard(class, ones(), ones()) }
        };
        let (mut kept, mut left_out) = (labels(), labels());
        kept.keep(&Tensor::from_slice(&[true, false, true]));
        left_out.leave_out(&Tensor::from_slice(&[1i64]));
        for found in [kept, left_out] {
            assert_eq!(
                (list(&found.weight), list(&found.rows["beside"])),
                (vec![1.0, 0.0, 1.0], vec![0.5, 0.0, 0.5])
            );
            assert_eq!(Vec::<bool>::try_from(found.selected()).unwrap(), [true, false, true]);
        }
    }
}
