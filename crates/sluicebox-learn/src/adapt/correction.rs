//! Prior correction, for predictions and pseudo-labels: adapts the network's probabilities to the
//! class prior of the present stream ([`crate::adapt::prior`]) and blends in the discriminants
//! ([`crate::adapt::forgetting`]). [`crate::adapt::correction_fit`] learns it.

use crate::adapt::features::features;
use crate::adapt::state::Discriminants;
use tch::{Kind, Tensor};

/// Lower bound on probabilities before the logarithm.
const LEAST: f64 = 1e-6;

/// One fixed prior correction. Its tensors share memory and are never changed.
///
/// ```
/// use sluicebox_learn::adapt::correction::PriorCorrection;
/// use tch::{Device, Kind, Tensor};
///
/// // Class 1 is three times as frequent in the stream as in training.
/// let shift = Tensor::from_slice(&[0.0f32, 3f32.ln()]);
/// let correction = PriorCorrection { temper: 1.0, shift, shares: None, discriminants: None };
/// let probabilities = Tensor::from_slice2(&[[0.5f32, 0.5]]);
/// let input = Tensor::zeros([1, 4], (Kind::Float, Device::Cpu));
/// let corrected = correction.apply(&probabilities, &input);
/// assert!((corrected.double_value(&[0, 1]) - 0.75).abs() < 1e-6);
/// ```
#[derive(Debug)]
pub struct PriorCorrection {
    /// Exponent (inverse temperature) on the network's probabilities.
    pub temper: f64,
    /// `[C]` f32: added to the tempered log probabilities to adapt them to the present prior.
    pub shift: Tensor,
    /// `[1 + K]` f32: blending weights of the network and of each discriminant.
    pub shares: Option<Tensor>,
    /// Discriminants to blend in.
    pub discriminants: Option<Discriminants>,
}

impl PriorCorrection {
    /// Returns corrected probabilities `[N, C]` from the network's `probabilities` `[N, C]` for a
    /// view of `input` `[N, …]`.
    pub fn apply(&self, probabilities: &Tensor, input: &Tensor) -> Tensor {
        let own = (log(probabilities) * self.temper + &self.shift).softmax(1, Kind::Float);
        let (Some(shares), Some(discriminants)) = (&self.shares, &self.discriminants) else { return own };
        let rows = features(input, discriminants.shape).to_kind(Kind::Float);
        let others = rows.unsqueeze(0).matmul(&discriminants.weights) + discriminants.bias.unsqueeze(1);
        let others = others.softmax(-1, Kind::Float); // [K, N, C]
        let all = Tensor::cat(&[own.unsqueeze(0), others], 0);
        (all * shares.view([-1, 1, 1])).sum_dim_intlist([0i64].as_slice(), false, Kind::Float)
    }

    /// Returns the same prior correction, sharing memory.
    pub fn share(&self) -> Self {
        Self {
            temper: self.temper,
            shift: self.shift.shallow_clone(),
            shares: self.shares.as_ref().map(Tensor::shallow_clone),
            discriminants: self.discriminants.as_ref().map(Discriminants::share),
        }
    }
}

/// Returns the logarithm of probabilities, finite also for 0.
pub fn log(probabilities: &Tensor) -> Tensor {
    probabilities.clamp_min(LEAST).log()
}
