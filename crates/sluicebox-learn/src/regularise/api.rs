//! The contracts of regularisers: a term of the student's outputs, or of the weights alone.

use crate::method::api::Forward;
use tch::Tensor;

/// A loss term that depends on the student's outputs.
pub trait OutputTerm {
    /// Returns the term as a scalar, before its factor; `None` where it does not apply.
    fn loss(&mut self, forward: &Forward<'_>) -> Option<Tensor>;

    /// Returns the state kept between steps, f32.
    fn state(&mut self) -> Option<&mut Tensor> {
        None
    }
}

/// A loss term that depends on the weights alone.
pub trait WeightTerm {
    /// Adds `weight` times the term's gradient at `parameters` `[P]` to `gradients` `[P]`.
    fn add(&mut self, parameters: &Tensor, gradients: &Tensor, weight: f64);

    /// Returns the state kept between steps, f32.
    fn state(&mut self) -> Option<&mut Tensor> {
        None
    }
}
