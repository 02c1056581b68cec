//! Plain values as the tensors that a model reads.

use crate::device::upload::Part;
use sluicebox_core::sample::{Shape, Values};
use tch::{Kind, Tensor};

/// Returns the values as a tensor `[count, …]` on the CPU, in their own type.
pub fn tensor(values: &Values, shape: Shape) -> Tensor {
    let count = values.len() / shape.len();
    let flat = match values {
        Values::U8(values) => Tensor::from_slice(values),
        Values::F32(values) => Tensor::from_slice(values),
    };
    flat.view(shape.batch(count).as_slice())
}

/// Converts `values` (u8 or f32) to the model's input: f32, scaled.
pub fn scaled(values: &Tensor, scale: f32) -> Tensor {
    match values.kind() {
        Kind::Float if scale == 1.0 => values.shallow_clone(),
        _ => values * f64::from(scale), // in f32: one operation, also from u8
    }
}

/// Returns values as what travels to the device: `[count, …]`.
pub fn part(values: &Values, shape: Shape) -> Part<'_> {
    let shape = shape.batch(values.len() / shape.len());
    match values {
        Values::U8(values) => Part::new(values, shape),
        Values::F32(values) => Part::new(values, shape),
    }
}
