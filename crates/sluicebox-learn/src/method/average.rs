//! State that methods keep from step to step: tensors on the batch's device, and their serialised form.

use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::{decode, encode};
use tch::{Device, Tensor};

/// An exponential moving average of tensors of one shape, f32.
pub struct Average {
    momentum: f64,
    /// The average; `None` before the first value.
    pub value: Option<Tensor>,
}

impl Average {
    /// Creates an average of which the fraction `momentum` is kept at each step.
    pub fn new(momentum: f64) -> Self {
        Self { momentum, value: None }
    }

    /// Returns the average, with the shape and device of `like` f32. It starts at `first` everywhere.
    pub fn present(&mut self, like: &Tensor, first: f64) -> &Tensor {
        let value =
            self.value.take().map_or_else(|| like.full_like(first), |old| old.to_device(like.device()));
        self.value.insert(value)
    }

    /// Adds `new` f32 and returns the average, which starts at `first` everywhere.
    pub fn update(&mut self, new: &Tensor, first: f64) -> &Tensor {
        let share = 1.0 - self.momentum;
        let average = self.present(new, first).lerp(new, share);
        self.value.insert(average)
    }
}

/// The state's name in messages.
const WHAT: &str = "the method";

/// Shape and elements of a tensor.
type Plain = (Vec<i64>, Vec<f32>);

/// Encodes f32 tensors; `None` stays `None`.
pub fn save_tensors(tensors: &[&Option<Tensor>]) -> Result<Vec<u8>> {
    let plain = |tensor: &Tensor| -> Plain {
        let mut elements = vec![0.0; tensor.numel()];
        tensor.to_device(Device::Cpu).contiguous().copy_data(&mut elements, tensor.numel());
        (tensor.size(), elements)
    };
    let tensors: Vec<Option<Plain>> = tensors.iter().map(|tensor| tensor.as_ref().map(plain)).collect();
    encode(WHAT, &tensors)
}

/// Returns tensors saved by [`save_tensors`] to their places, on the CPU; their number must match.
pub fn load_tensors<const N: usize>(state: &[u8], tensors: [&mut Option<Tensor>; N]) -> Result<()> {
    let saved: Vec<Option<Plain>> = decode(WHAT, state)?;
    let whole = |(shape, elements): &Plain| shape.iter().product::<i64>() == elements.len() as i64;
    if saved.len() != N || !saved.iter().flatten().all(whole) {
        let reason = format!("the state of {WHAT} is damaged: its tensors are not those of this method");
        return Err(Error::Request(reason));
    }
    for (tensor, saved) in tensors.into_iter().zip(saved) {
        *tensor = saved.map(|(shape, elements)| Tensor::from_slice(&elements).view(shape.as_slice()));
    }
    Ok(())
}
