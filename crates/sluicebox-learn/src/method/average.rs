//! State that methods keep from step to step: tensors on the batch's device, and their serialised form.

use sluicebox_core::error::{Error, Result};
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

/// Shape and elements of a tensor.
type Plain = (Vec<i64>, Vec<f32>);

/// Serialises f32 tensors; `None` stays `None`.
pub fn save(tensors: &[&Option<Tensor>]) -> Vec<u8> {
    let plain = |tensor: &Tensor| -> Plain {
        let mut elements = vec![0.0; tensor.numel()];
        tensor.to_device(Device::Cpu).contiguous().copy_data(&mut elements, tensor.numel());
        (tensor.size(), elements)
    };
    let tensors: Vec<Option<Plain>> = tensors.iter().map(|tensor| tensor.as_ref().map(plain)).collect();
    bincode::serialize(&tensors).expect("plain numbers have bytes")
}

/// Restores tensors saved by [`save`], on the CPU; their number must match.
pub fn load<const N: usize>(state: &[u8], tensors: [&mut Option<Tensor>; N]) -> Result<()> {
    let damaged = || Error::request("the method's state is damaged");
    let saved: Vec<Option<Plain>> = bincode::deserialize(state).map_err(|_| damaged())?;
    let whole = |(shape, elements): &Plain| shape.iter().product::<i64>() == elements.len() as i64;
    if saved.len() != N || !saved.iter().flatten().all(whole) {
        return Err(damaged());
    }
    for (tensor, saved) in tensors.into_iter().zip(saved) {
        *tensor = saved.map(|(shape, elements)| Tensor::from_slice(&elements).view(shape.as_slice()));
    }
    Ok(())
}
