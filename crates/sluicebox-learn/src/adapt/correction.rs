//! Answers: the network's probabilities, blended with those of the experts ([`crate::adapt::experts`]) and corrected to the
//! class prior of the stream ([`crate::adapt::prior`]). For predictions and pseudo-labels.
//! [`crate::adapt::correction_fit`] learns how.

use crate::adapt::experts::Snapshot;
use crate::adapt::features::rows;
use crate::adapt::learned;
use sluicebox_core::sample::Shape;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Lower bound on probabilities before the logarithm.
pub(super) const LEAST: f64 = 1e-6;

/// Least probability of the network in the blend: where it is sure and wrong, it must not outweigh all others.
pub const LEAST_OF_NETWORK: f64 = 1e-2;

/// One fixed way from the network's probabilities to answers. Its tensors share memory and are never changed.
///
/// ```
/// use sluicebox_core::sample::Shape;
/// use sluicebox_learn::adapt::correction::PriorCorrection;
/// use tch::{Device, Kind, Tensor};
///
/// // Class 1 is three times as frequent in the stream as in training.
/// let shift = Tensor::from_slice(&[0.0f32, 3f32.ln()]);
/// let shape = Shape::Vector { features: 4 };
/// let correction = PriorCorrection { shares: None, experts: None, temper: 1.0, shift, gate: None, shape };
/// let probabilities = Tensor::from_slice2(&[[0.5f32, 0.5]]);
/// let input = Tensor::zeros([1, 4], (Kind::Float, Device::Cpu));
/// let corrected = correction.apply(&probabilities, &input);
/// assert!((corrected.double_value(&[0, 1]) - 0.75).abs() < 1e-6);
/// ```
#[derive(Debug)]
pub struct PriorCorrection {
    /// `[2]` f32: shares of the network and of the experts in the blend; none where the network answers alone.
    pub shares: Option<Tensor>,
    /// The experts, for [`PriorCorrection::apply`].
    pub experts: Option<Arc<Snapshot>>,
    /// Exponent (inverse temperature) on the blended probabilities before the shift.
    pub temper: f64,
    /// `[C]` f32: added to the tempered log probabilities to adapt them to the prior.
    pub shift: Tensor,
    /// `[2]` f32: shares of the answer as it is and as corrected to the prior; none: corrected.
    pub gate: Option<Tensor>,
    /// Shape of a sample.
    pub shape: Shape,
}

impl PriorCorrection {
    /// Returns answers `[N, C]`, probabilities, from the network's `probabilities` `[N, C]` for views of samples to which the
    /// experts give the log probabilities `experts` `[N, C]`.
    pub fn answer(&self, probabilities: &Tensor, experts: Option<&Tensor>) -> Tensor {
        self.of_blended(&self.blend(&log(probabilities), experts))
    }

    /// Returns answers `[N, C]`, probabilities, from [blended](PriorCorrection::blend) log probabilities `[N, C]`.
    pub fn of_blended(&self, blended: &Tensor) -> Tensor {
        let corrected = (blended * self.temper + &self.shift).softmax(1, Kind::Float);
        match &self.gate {
            None => corrected,
            Some(gate) => blended.softmax(1, Kind::Float) * gate.get(0) + corrected * gate.get(1),
        }
    }

    /// Returns `[N, C]`: the weighted sum of the network's and the experts' log probabilities, which is the logarithm of
    /// their geometric mean but for a constant.
    pub fn blend(&self, network: &Tensor, experts: Option<&Tensor>) -> Tensor {
        match (&self.shares, experts) {
            (Some(shares), Some(experts)) => {
                network.clamp_min(LEAST_OF_NETWORK.ln()) * shares.get(0) + experts * shares.get(1)
            }
            _ => network.shallow_clone(),
        }
    }

    /// Like [`PriorCorrection::answer`], for views of the samples `input` `[N, …]`, which the experts look at themselves. On a
    /// GPU it waits for the input.
    pub fn apply(&self, probabilities: &Tensor, input: &Tensor) -> Tensor {
        let experts = self.experts.as_ref().filter(|_| self.shares.is_some()).map(|experts| {
            let answers = experts.answer(&rows(&input.to_device(Device::Cpu), self.shape));
            Tensor::from_slice(&answers)
                .view(probabilities.size().as_slice())
                .to_device(probabilities.device())
        });
        self.answer(probabilities, experts.as_ref())
    }

    /// Returns the shares. On a GPU it waits for them.
    pub fn answer_shares(&self) -> AnswerShares {
        let at = |shares: &Tensor, index: i64| shares.double_value(&[index]);
        let experts = self.shares.as_ref().zip(self.experts.as_ref());
        let kinds = experts.map_or(Vec::new(), |(shares, experts)| {
            let all = at(shares, 1);
            experts.kinds().into_iter().map(|(kind, share)| (kind, all * share)).collect()
        });
        AnswerShares {
            network: self.shares.as_ref().map_or(1.0, |shares| at(shares, 0)),
            kinds,
            corrected: self.gate.as_ref().map(|gate| at(gate, 1)),
        }
    }

    /// Returns the same, sharing memory.
    pub fn share(&self) -> Self {
        Self {
            shares: self.shares.as_ref().map(Tensor::shallow_clone),
            experts: self.experts.clone(),
            temper: self.temper,
            shift: self.shift.shallow_clone(),
            gate: self.gate.as_ref().map(Tensor::shallow_clone),
            shape: self.shape,
        }
    }
}

/// Who has a say in the answers: shares from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerShares {
    /// Share of the network; those of the kinds of experts are the rest.
    pub network: f64,
    /// Share of each kind of experts.
    pub kinds: Vec<(learned::Kind, f64)>,
    /// Share of the answer as corrected to the present class prior; none where there is no such correction.
    pub corrected: Option<f64>,
}

impl AnswerShares {
    /// Returns the share of a kind; none where it has no say.
    pub fn of(&self, kind: learned::Kind) -> Option<f64> {
        self.kinds.iter().find(|(other, _)| *other == kind).map(|(_, share)| *share)
    }
}

/// Returns the logarithm of probabilities, finite also for 0.
pub fn log(probabilities: &Tensor) -> Tensor {
    probabilities.clamp_min(LEAST).log()
}
