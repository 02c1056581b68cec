//! Features of a sample for the experts: the input itself; of a long vector, hashed features
//! (Weinberger et al. 2009); of an image, means over a grid.

use crate::device::upload::upload;
use crate::torch::on_host;
use sluicebox_core::sample::Shape;
use tch::{Device, Kind, Tensor};

/// Maximum number of features of an image.
const PIXELS: f64 = 64.0;
/// Maximum number of features of a vector: the cost per label grows with its cube.
const FEATURES: i64 = 128;

/// Returns the experts' features `[N, F]` of samples `input` `[N, …]`.
pub fn features(input: &Tensor, shape: Shape) -> Tensor {
    match shape {
        Shape::Vector { features } if is_hashed(shape) => hashed(input, features),
        Shape::Vector { .. } => input.shallow_clone(),
        Shape::Image { channels, height, width } => {
            input.adaptive_avg_pool2d(grid(channels, height, width)).flatten(1, -1)
        }
    }
}

/// Returns the same features `[N, F]` as plain values, of samples on the CPU.
pub fn rows(input: &Tensor, shape: Shape) -> Vec<f32> {
    on_host(&features(input, shape))
}

/// Returns the number of features F of a sample.
pub fn count(shape: Shape) -> usize {
    let one = Tensor::zeros(shape.batch(1).as_slice(), (Kind::Float, Device::Cpu));
    features(&one, shape).numel()
}

/// Returns height and width of the grid over an image.
pub(super) fn grid(channels: usize, height: usize, width: usize) -> [i64; 2] {
    let side = (PIXELS / channels as f64).sqrt().floor().max(1.0) as i64;
    [side.min(height as i64), side.min(width as i64)]
}

/// Returns whether the features of a vector are hashed.
pub(super) fn is_hashed(shape: Shape) -> bool {
    matches!(shape, Shape::Vector { features } if features as i64 > FEATURES)
}

/// Returns the hash and the sign of each feature.
pub(super) fn hashes(features: usize) -> (Vec<i64>, Vec<f32>) {
    // Multiplying by a large odd number makes the upper bits depend on all lower ones.
    let hash = |feature: usize| ((feature as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as i64;
    let sign = |hash: i64| if hash / FEATURES % 2 == 0 { 1.0 } else { -1.0 };
    (0..features).map(hash).map(|hash| (hash % FEATURES, sign(hash))).unzip()
}

/// Sums the features of `input` `[N, F]` that share a hash, each with a sign.
fn hashed(input: &Tensor, features: usize) -> Tensor {
    let (places, signs) = hashes(features);
    let up = |tensor: Tensor| upload(&tensor, input.device());
    let signed = input * up(Tensor::from_slice(&signs)).to_kind(input.kind());
    let sums = Tensor::zeros([input.size()[0], FEATURES], (input.kind(), input.device()));
    sums.index_add(1, &up(Tensor::from_slice(&places)), &signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_vector_is_hashed_to_few_features_of_the_same_length() {
        tch::manual_seed(1);
        let input = Tensor::randn([50, 5000], (Kind::Float, Device::Cpu));
        let hashed = features(&input, Shape::Vector { features: 5000 });
        assert_eq!(hashed.size(), [50, FEATURES]);
        let ratio = (hashed.square().sum(Kind::Float) / input.square().sum(Kind::Float)).double_value(&[]);
        assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
        assert!(hashed.abs().amin([0i64].as_slice(), false).min().double_value(&[]) > 0.0, "each is used");
    }
}
