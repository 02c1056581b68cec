//! What methods keep from step to step: tensors on the batch's device, and their bytes.

use crate::error::{Error, Result};
use tch::{Device, Tensor};

/// An exponential moving average of tensors of one shape.
pub struct Average {
    momentum: f64,
    /// The average, once something was taken in: f32.
    pub value: Option<Tensor>,
}

impl Average {
    /// One of which `momentum` stays at each step.
    pub fn new(momentum: f64) -> Self {
        Self { momentum, value: None }
    }

    /// The average, of the shape and on the device of `like` f32. It begins with `first` everywhere.
    pub fn present(&mut self, like: &Tensor, first: f64) -> &Tensor {
        let value =
            self.value.take().map_or_else(|| like.full_like(first), |old| old.to_device(like.device()));
        self.value.insert(value)
    }

    /// Takes in `new` f32, and gives the average, which begins with `first` everywhere.
    pub fn update(&mut self, new: &Tensor, first: f64) -> &Tensor {
        let share = 1.0 - self.momentum;
        let average = self.present(new, first).lerp(new, share);
        self.value.insert(average)
    }
}

/// Shape and elements.
type Plain = (Vec<i64>, Vec<f32>);

/// Bytes of f32 tensors, those that are there.
pub fn save(tensors: &[&Option<Tensor>]) -> Vec<u8> {
    let plain = |tensor: &Tensor| -> Plain {
        let mut elements = vec![0.0; tensor.numel()];
        tensor.to_device(Device::Cpu).contiguous().copy_data(&mut elements, tensor.numel());
        (tensor.size(), elements)
    };
    let tensors: Vec<Option<Plain>> = tensors.iter().map(|tensor| tensor.as_ref().map(plain)).collect();
    bincode::serialize(&tensors).expect("plain numbers have bytes")
}

/// Puts back as many tensors as were saved, on the CPU.
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
