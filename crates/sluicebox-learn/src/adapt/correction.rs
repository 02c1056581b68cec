//! Answers: the network's probabilities, blended with those of the experts ([`crate::adapt::experts`]) and corrected to the
//! class prior of the stream ([`crate::adapt::prior`]). For predictions and pseudo-labels.
//! [`crate::adapt::correction_fit`] learns how.

use crate::adapt::discriminant::normalise;
use crate::adapt::experts::Snapshot;
use crate::adapt::features::rows;
use crate::adapt::learned;
use crate::adapt::prototypes::Prototypes;
use crate::torch::on_host;
use sluicebox_core::sample::Shape;
use std::sync::Arc;
use tch::{Device, Tensor};

/// Lower bound on probabilities before the logarithm.
pub(super) const LEAST: f32 = 1e-6;

/// Least probability of the network in the blend: where it is sure and wrong, it must not outweigh all others.
pub(super) const LEAST_OF_NETWORK: f32 = 1e-2;

/// One fixed way from the network's probabilities to answers, on the host: N samples, C classes.
///
/// ```
/// use sluicebox_core::sample::Shape;
/// use sluicebox_learn::adapt::correction::{PriorCorrection, Shift};
///
/// // Class 1 is three times as frequent in the stream as in training.
/// let shifts = [Shift { share: 1.0, of_class: vec![0.0, 3f32.ln()] }].into();
/// let shape = Shape::Vector { features: 4 };
/// let correction = PriorCorrection { shares: None, experts: None, prototypes: None, temper: 1.0, shifts, shape };
/// let answer = correction.answer(&[0.5, 0.5], None);
/// assert!((answer[1] - 0.75).abs() < 1e-6);
/// ```
#[derive(Debug, Clone)]
pub struct PriorCorrection {
    /// Shares of the network and of the experts in the blend; none where the network answers alone.
    pub shares: Option<[f32; 2]>,
    /// The experts, for [`PriorCorrection::apply`].
    pub experts: Option<Arc<Snapshot>>,
    /// Prototypes, whose answers stand in for the network's probabilities; none where these count.
    pub prototypes: Option<Arc<Prototypes>>,
    /// Exponent (inverse temperature) on the blended probabilities before a shift.
    pub temper: f32,
    /// Shifts to the prior, whose answers are averaged by their shares. Where there are several, the first leaves answers as
    /// they are.
    pub shifts: Arc<[Shift]>,
    /// Shape of a sample.
    pub shape: Shape,
}

/// A shift of log probabilities.
#[derive(Debug, Clone, PartialEq)]
pub struct Shift {
    /// Its share in the answer, from 0 to 1.
    pub share: f32,
    /// `[C]`: added to the tempered log probabilities.
    pub of_class: Vec<f32>,
}

impl PriorCorrection {
    /// Returns how answers are made of `prototypes`, with a `correction` where there is one; `None` without either.
    pub fn beside(correction: Option<Self>, prototypes: Option<Arc<Prototypes>>) -> Option<Self> {
        let Some(made) = prototypes else { return correction };
        let alone = || {
            let shifts = [Shift { share: 1.0, of_class: vec![0.0; made.present.len()] }].into();
            // The shape is for experts only.
            let shape = Shape::Vector { features: 0 };
            Self { shares: None, experts: None, prototypes: None, temper: 1.0, shifts, shape }
        };
        let correction = correction.unwrap_or_else(alone);
        Some(Self { prototypes: Some(made), ..correction })
    }

    /// Returns answers `[N, C]`, probabilities, from the network's `probabilities` `[N, C]` for views of samples to which the
    /// experts give the log probabilities `experts` `[N, C]`.
    pub fn answer(&self, probabilities: &[f32], experts: Option<&[f32]>) -> Vec<f32> {
        self.of_blended(&self.blend(probabilities, experts))
    }

    /// Returns answers `[N, C]`, probabilities, from [blended](PriorCorrection::blend) ones `[N, C]`.
    pub fn of_blended(&self, blended: &[f32]) -> Vec<f32> {
        let classes = self.shifts[0].of_class.len();
        let mut answers = vec![0.0; blended.len()];
        for Shift { share, of_class } in self.shifts.iter() {
            let factors = factors(of_class);
            for (answer, row) in answers.chunks_exact_mut(classes).zip(blended.chunks_exact(classes)) {
                let shifted = reweighted(row, &factors, *share);
                answer.iter_mut().zip(shifted).for_each(|(answer, of_class)| *answer += of_class);
            }
        }
        answers
    }

    /// Returns `[N, C]`: the weighted geometric mean of the probabilities of the network and of the experts, tempered and
    /// normalised.
    pub fn blend(&self, probabilities: &[f32], experts: Option<&[f32]>) -> Vec<f32> {
        let classes = self.shifts[0].of_class.len();
        let mut blended: Vec<f32> = match (self.shares, experts) {
            (Some([network, others]), Some(experts)) => {
                let both = probabilities.iter().zip(experts);
                both.map(|(of_network, log)| network * log_of_network(*of_network) + others * log).collect()
            }
            _ => probabilities.iter().map(|of_network| of_network.max(LEAST).ln()).collect(),
        };
        for row in blended.chunks_exact_mut(classes) {
            row.iter_mut().for_each(|log| *log *= self.temper);
            normalise(row);
            row.iter_mut().for_each(|log| *log = log.exp());
        }
        blended
    }

    /// Like [`PriorCorrection::answer`], for views of the samples `input` `[N, …]`, which the experts look at themselves. On a
    /// GPU it waits for both.
    pub fn apply(&self, probabilities: &Tensor, input: &Tensor) -> Tensor {
        let experts = self.experts.as_ref().filter(|_| self.shares.is_some());
        let experts = experts.map(|experts| experts.answer(&rows(&input.to_device(Device::Cpu), self.shape)));
        let answers = self.answer(&on_host(probabilities), experts.as_deref());
        Tensor::from_slice(&answers).view(probabilities.size().as_slice()).to_device(probabilities.device())
    }

    /// Returns who has a say in the answers.
    pub fn answer_shares(&self) -> AnswerShares {
        let experts = self.shares.zip(self.experts.as_ref());
        let kinds = experts.map_or(Vec::new(), |([_, all], experts)| {
            experts.kinds().into_iter().map(|(kind, share)| (kind, f64::from(all) * share)).collect()
        });
        AnswerShares {
            network: self.shares.map_or(1.0, |[network, _]| f64::from(network)),
            kinds,
            corrected: (self.shifts.len() > 1).then(|| 1.0 - f64::from(self.shifts[0].share)),
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

/// Returns the logarithm of a probability of the network as the blend counts it.
pub(super) fn log_of_network(probability: f32) -> f32 {
    probability.max(LEAST_OF_NETWORK).ln()
}

/// Returns the factors on probabilities that a shift of their logarithms means, the largest of which is 1.
pub(super) fn factors(shift: &[f32]) -> Vec<f32> {
    let most = shift.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    shift.iter().map(|of_class| (of_class - most).exp()).collect()
}

/// Returns a row of probabilities `[C]` times `factors` `[C]`, with the sum `share`.
pub(super) fn reweighted<'a>(
    row: &'a [f32],
    factors: &'a [f32],
    share: f32,
) -> impl Iterator<Item = f32> + 'a {
    let sum: f32 = row.iter().zip(factors).map(|(of_class, factor)| of_class * factor).sum();
    row.iter().zip(factors).map(move |(of_class, factor)| share / sum * of_class * factor)
}
