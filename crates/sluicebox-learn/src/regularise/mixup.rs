//! Mixing of labelled samples with each other: mixup (Zhang et al. 2018), CutMix (Yun et al. 2019), mixup of features (Verma et
//! al. 2019, §2), and mixtures beside the samples (RegMixup, Pinto et al. 2022, §3).
//!
//! Of the layers from which Manifold Mixup draws the one that is mixed, this is the input of the last one: it is linear, so that
//! mixed features have mixed logits, and no second pass is needed. In RegMixup samples are learned as they are, and their mixtures
//! as well, by a loss of their own: α is 10 there, which makes halves.

use crate::augmentation::mix::{Mixed, Shares, cutmix, mixup};
use crate::model::api::Output;
use crate::pseudo_labels::Target;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::Tensor;

/// Mixing of labelled samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mixup {
    /// α of the Beta(α, α) from which each sample's own share is drawn.
    pub alpha: f64,
    /// CutMix instead of mixup: a box of the partner replaces that of the sample.
    pub cut: bool,
    /// Mixes the input of the last layer instead of the samples.
    pub features: bool,
    /// Weight of the loss of mixtures beside the samples; 0: mixtures come in their place.
    pub beside: f64,
}

impl Default for Mixup {
    fn default() -> Self {
        Self { alpha: 0.2, cut: false, features: false, beside: 0.0 }
    }
}

impl Mixup {
    /// Returns what of it is out of range, if anything.
    pub fn fault(&self) -> Option<String> {
        let Self { alpha, cut, features, beside } = self;
        match () {
            () if !(1e-3..=1e3).contains(alpha) => {
                Some(format!("alpha = {alpha} must be from 0.001 to 1000"))
            }
            () if !(0.0..=1e6).contains(beside) => {
                Some(format!("beside = {beside} must be from 0 to 1000000"))
            }
            () if *cut && *features => {
                Some("cut is of images, and features of the last layer: leave one out".into())
            }
            () => None,
        }
    }
}

/// What mixes labelled samples.
pub struct LabelledMixup {
    shares: Shares,
    settings: Mixup,
}

impl LabelledMixup {
    /// Creates the mixing of samples of a shape, which CutMix must be able to cut.
    pub fn new(settings: Mixup, shape: Shape) -> Result<Self> {
        if settings.cut && matches!(shape, Shape::Vector { .. }) {
            let reason = format!("regularise.mixup.cut is for images, but a sample has {shape}");
            return Err(Error::Request(reason));
        }
        Ok(Self { shares: Shares::new(settings.alpha, false)?, settings })
    }

    /// Returns the weight of the loss of mixtures, where they come beside the samples.
    pub fn beside(&self) -> Option<f64> {
        Some(self.settings.beside).filter(|weight| *weight > 0.0)
    }

    /// Returns how often each sample passes the network for its mixture beside it.
    pub fn passes(&self) -> u64 {
        u64::from(self.beside().is_some() && !self.settings.features)
    }

    /// Mixes samples `[L, …]` f32; `None` where it mixes features.
    pub fn samples(&self, input: &Tensor, draws: &mut Draws) -> Option<Mixed> {
        match (self.settings.features, self.settings.cut) {
            (true, _) => None,
            (_, true) => Some(cutmix(input, &self.shares, draws)),
            _ => Some(mixup(input, &self.shares, None, draws)),
        }
    }

    /// Mixes what the network says of samples, and their targets `[L, C]`; `None` where it mixes samples.
    pub fn outputs(&self, output: &Output, rows: &Tensor, draws: &mut Draws) -> Option<(Output, Target)> {
        if !self.settings.features {
            return None;
        }
        let mixed = mixup(&output.logits, &self.shares, None, draws);
        let of = |tensor: &Tensor| mixed.targets(tensor);
        let (features, heads) = (of(&output.features), output.heads.iter().map(of).collect());
        let target = Target::Soft(of(rows));
        Some((Output { logits: mixed.input, features, heads }, target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::rng::{Randomness, Stage};
    use tch::{Kind, Tensor};

    /// The last layer is linear: logits of mixed features are mixed logits.
    #[test]
    fn mixed_features_have_mixed_logits() {
        let settings = Mixup { alpha: 1.0, features: true, ..Mixup::default() };
        let mixup = LabelledMixup::new(settings, Shape::Vector { features: 2 }).unwrap();
        let features = Tensor::arange(8, (Kind::Float, tch::Device::Cpu)).view([4, 2]).sin();
        let (weights, bias) = (Tensor::from_slice2(&[[1.0f32, 2.0, -1.0], [0.5, -0.5, 3.0]]), 0.25);
        let last = |features: &Tensor| features.matmul(&weights) + bias;
        let output = Output { logits: last(&features), heads: vec![features.copy()], features };
        let rows = Target::Hard(Tensor::from_slice(&[0i64, 1, 2, 0])).rows(3);
        let draws = || Randomness::new(0, 0).at(0, Stage::Student);
        let (mixed, target) = mixup.outputs(&output, &rows, &mut draws()).unwrap();
        assert!(mixed.logits.allclose(&last(&mixed.features), 1e-5, 1e-6, false));
        assert!(!mixed.features.equal(&output.features) && mixed.heads[0].equal(&mixed.features));
        let sums = target.rows(3).sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
        assert!(sums.allclose(&Tensor::ones([4], tch::kind::FLOAT_CPU), 1e-5, 1e-6, false));
        assert!(mixup.samples(&output.features, &mut draws()).is_none());
    }

    #[test]
    fn what_cannot_be_mixed_is_refused() {
        let fault = |mixup: Mixup| mixup.fault().unwrap_or_default();
        assert!(fault(Mixup { cut: true, features: true, ..Mixup::default() }).contains("leave one out"));
        assert!(fault(Mixup { beside: -1.0, ..Mixup::default() }).contains("beside = -1"));
        assert!(fault(Mixup { alpha: f64::NAN, ..Mixup::default() }).contains("alpha"));
        assert_eq!(fault(Mixup { features: true, beside: 1.0, ..Mixup::default() }), "");
    }
}
