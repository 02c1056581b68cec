//! Places of a model's weights in one flat tensor, and their initialisation.

use rand::RngExt;
use sluicebox_core::rng::Draws;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// Initialisation of a parameter or buffer.
#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    /// Uniform between plus and minus this bound: PyTorch's default is 1/√(inputs).
    Uniform(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// A constant.
    Constant(f32),
    /// Given values, in the order of the flat tensor.
    Given(Arc<[f32]>),
}

impl Init {
    /// Takes the values of a tensor.
    pub fn given(tensor: &Tensor) -> Self {
        let flat = flattened(tensor).contiguous();
        let mut values = vec![0.0; flat.numel()];
        flat.copy_data(&mut values, flat.numel());
        Init::Given(values.into())
    }
}

/// Flattens a tensor to f32: an i64 takes two places, bit by bit.
fn flattened(tensor: &Tensor) -> Tensor {
    let flat = match tensor.dim() {
        4 => tensor.permute([0, 2, 3, 1]).reshape(-1),
        _ => tensor.reshape(-1),
    };
    if tensor.kind() == Kind::Int64 { flat.view_dtype(Kind::Float) } else { flat }
}

/// One named tensor within a flat one.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// PyTorch's name: `features.0.weight`.
    pub name: String,
    /// Shape in PyTorch.
    pub shape: Vec<i64>,
    /// `Float`, or `Int64` for a counting buffer.
    pub kind: Kind,
    /// Offset in the flat tensor.
    pub offset: i64,
    /// Initialisation.
    pub init: Init,
}

impl Slot {
    /// Returns the number of places in the flat tensor.
    pub fn len(&self) -> i64 {
        self.shape.iter().product::<i64>() * if self.kind == Kind::Int64 { 2 } else { 1 }
    }

    /// Returns whether it has no places.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns its part of `flat`, sharing memory. Convolution weights lie channels-last (out, height,
    /// width, in), as the kernels need them.
    pub fn view(&self, flat: &Tensor) -> Tensor {
        let shape = self.shape.as_slice();
        let part = flat.narrow(0, self.offset, self.len());
        let part = if self.kind == Kind::Int64 { part.view_dtype(Kind::Int64) } else { part };
        match *shape {
            [_, inputs, height, width] => {
                let strides = [inputs * height * width, 1, width * inputs, inputs];
                part.as_strided(shape, strides.as_slice(), None)
            }
            _ => part.view(shape),
        }
    }

    /// Flattens a tensor of its shape: `[len]`.
    pub fn flatten(&self, tensor: &Tensor) -> Tensor {
        match self.kind {
            Kind::Int64 => flattened(&tensor.to_kind(Kind::Int64)),
            _ => flattened(tensor),
        }
    }
}

/// Places of all weights: first those that decay, then those that do not (biases and batch norm), so
/// that weight decay is one operation on one range.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout {
    /// Trained tensors.
    pub parameters: Vec<Slot>,
    /// Untrained tensors: running statistics.
    pub buffers: Vec<Slot>,
    /// Number of parameter values that decay; they come first.
    pub decayed: i64,
}

impl Layout {
    /// Returns the number of values in all buffers.
    pub fn buffer_count(&self) -> i64 {
        self.buffers.iter().map(Slot::len).sum()
    }

    /// Declares a parameter and returns its index. [`Layout::arranged`] sets the offsets.
    pub fn parameter(&mut self, name: String, shape: &[i64], init: Init) -> usize {
        self.parameters.push(Slot { name, shape: shape.to_vec(), kind: Kind::Float, offset: 0, init });
        self.parameters.len() - 1
    }

    /// Declares a buffer and returns its index. `Int64` buffers must come first.
    pub fn buffer(&mut self, name: String, shape: &[i64], kind: Kind, init: Init) -> usize {
        let offset = self.buffer_count();
        self.buffers.push(Slot { name, shape: shape.to_vec(), kind, offset, init });
        self.buffers.len() - 1
    }

    /// Returns the layout with the offsets of all parameters set.
    pub fn arranged(mut self) -> Self {
        let mut offset = 0;
        for decays in [true, false] {
            for slot in self.parameters.iter_mut().filter(|slot| (slot.shape.len() > 1) == decays) {
                slot.offset = offset;
                offset += slot.len();
            }
            if decays {
                self.decayed = offset;
            }
        }
        self
    }

    /// Returns the indices of the parameters in the order of their offsets.
    pub fn by_offset(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.parameters.len()).collect();
        order.sort_by_key(|index| self.parameters[*index].offset);
        order
    }

    /// Returns the initial values of slots, drawn in the order of the slots: `[values]` f32.
    pub fn first(slots: &[Slot], draws: &mut Draws) -> Tensor {
        let mut values = vec![0.0; slots.iter().map(Slot::len).sum::<i64>() as usize];
        for slot in slots {
            let values = &mut values[slot.offset as usize..(slot.offset + slot.len()) as usize];
            match &slot.init {
                Init::Constant(value) => values.fill(*value),
                Init::Given(given) => values.copy_from_slice(given),
                Init::Uniform(most) => {
                    values.fill_with(|| (most * (2.0 * draws.random::<f64>() - 1.0)) as f32);
                }
                Init::Normal(deviation) => values.fill_with(|| (deviation * normal(draws)) as f32),
            }
        }
        Tensor::from_slice(&values)
    }
}

/// Draws a standard normal number (Box and Muller 1958).
fn normal(draws: &mut Draws) -> f64 {
    let radius = (-2.0 * (1.0 - draws.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * draws.random::<f64>()).cos()
}
