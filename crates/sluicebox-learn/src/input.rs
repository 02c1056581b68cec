//! Plain values as the tensors that a model reads.

use crate::device::Compute;
use sluicebox_core::sample::{Format, Shape, Values};
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
        _ => values.to_kind(Kind::Float) * f64::from(scale),
    }
}

/// Uploads values to the device as the model's input `[count, …]`: f32, scaled there.
pub fn uploaded(values: &Values, format: &Format, compute: Compute) -> Tensor {
    scaled(&compute.upload(&tensor(values, format.shape)), format.scale)
}
