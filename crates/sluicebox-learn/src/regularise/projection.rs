//! Projection of gradients (A-GEM, Chaudhry et al. 2019, equation 11): where the gradient of what is new opposes that of what is
//! known, the part of it that does so is taken away. New is what the stream brings, pseudo-labels and terms without labels; known
//! are the labelled samples that are replayed. It costs a second backward pass.
//!
//! Of several workers each projects the gradient of its own part of a step.

use tch::{Kind, Tensor};

/// Returns the gradient `all` `[P]` without what in `all` - `known` opposes `known` `[P]`.
pub fn projected(all: &Tensor, known: &Tensor) -> Tensor {
    let new = all - known;
    let opposed = new.dot(known).clamp_max(0.0) / known.square().sum(Kind::Float).clamp_min(1e-30);
    all - known * opposed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_does_not_undo_what_is_known() {
        for (new, expected) in
            [([-1.0f32, 1.0], [2.0f32, 1.0]), ([1.0, 1.0], [3.0, 1.0]), ([0.0, -1.0], [2.0, -1.0])]
        {
            let known = Tensor::from_slice(&[2.0f32, 0.0]);
            let found = projected(&(&known + Tensor::from_slice(&new)), &known);
            assert_eq!(Vec::<f32>::try_from(found).unwrap(), expected);
        }
        let nothing = Tensor::zeros([2], tch::kind::FLOAT_CPU);
        let new = Tensor::from_slice(&[1.0f32, -1.0]);
        assert!(projected(&new, &nothing).equal(&new), "without a known gradient nothing opposes it");
    }
}
