//! The layers models are made of, and the layout of their weights in one flat tensor.

use crate::randomness::Draws;
use rand::RngExt;
use tch::Tensor;

/// How a parameter or buffer starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Uniform on either side of 0, up to this: PyTorch's default is 1/√(inputs).
    Uniform(f64),
    /// All the same.
    Constant(f32),
}

/// One named tensor within a flat one.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// PyTorch's name: `features.0.weight`.
    pub name: String,
    /// Its shape as PyTorch has it.
    pub shape: Vec<i64>,
    /// Where it begins in the flat tensor.
    pub offset: i64,
    /// How it starts.
    pub init: Init,
}

impl Slot {
    /// Values it holds.
    pub fn len(&self) -> i64 {
        self.shape.iter().product()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its part of `flat`, sharing memory. Convolution weights lie channels-last (out, height,
    /// width, in), which is how the kernels want them.
    pub fn view(&self, flat: &Tensor) -> Tensor {
        let shape = self.shape.as_slice();
        let part = flat.narrow(0, self.offset, self.len());
        match *shape {
            [_, inputs, height, width] => {
                let strides = [inputs * height * width, 1, width * inputs, inputs];
                part.as_strided(shape, strides.as_slice(), None)
            }
            _ => part.view(shape),
        }
    }

    /// A tensor of its shape as it lies in a flat one: `[len]`.
    pub fn flatten(&self, tensor: &Tensor) -> Tensor {
        match self.shape.len() {
            4 => tensor.permute([0, 2, 3, 1]).reshape(-1),
            _ => tensor.reshape(-1),
        }
    }
}

/// Where everything lies: weights that decay first, then those that do not (biases and batch
/// norm), so that weight decay is an operation on one range.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout {
    /// Trained.
    pub parameters: Vec<Slot>,
    /// Not trained: running statistics.
    pub buffers: Vec<Slot>,
    /// Values among the parameters that decay; they come first.
    pub decayed: i64,
}

impl Layout {
    /// Values of all parameters.
    pub fn parameter_count(&self) -> i64 {
        self.parameters.iter().map(Slot::len).sum()
    }

    /// Values of all buffers.
    pub fn buffer_count(&self) -> i64 {
        self.buffers.iter().map(Slot::len).sum()
    }

    /// Declares a parameter and gives its place in the list. Offsets are set by
    /// [`Layout::arranged`].
    fn parameter(&mut self, name: String, shape: &[i64], init: Init) -> usize {
        self.parameters.push(Slot { name, shape: shape.to_vec(), offset: 0, init });
        self.parameters.len() - 1
    }

    fn buffer(&mut self, name: String, size: i64, value: f32) -> usize {
        let offset = self.buffer_count();
        self.buffers.push(Slot { name, shape: vec![size], offset, init: Init::Constant(value) });
        self.buffers.len() - 1
    }

    /// The layout with every parameter in its place.
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

    /// The parameters in the order of their offsets.
    pub fn by_offset(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.parameters.len()).collect();
        order.sort_by_key(|index| self.parameters[*index].offset);
        order
    }

    /// First values of slots, drawn in the order of the slots: `[values]` f32.
    pub fn first(slots: &[Slot], draws: &mut Draws) -> Tensor {
        let mut values = vec![0.0; slots.iter().map(Slot::len).sum::<i64>() as usize];
        for slot in slots {
            for value in &mut values[slot.offset as usize..(slot.offset + slot.len()) as usize] {
                *value = match slot.init {
                    Init::Constant(value) => value,
                    Init::Uniform(most) => (most * (2.0 * draws.random::<f64>() - 1.0)) as f32,
                };
            }
        }
        Tensor::from_slice(&values)
    }
}

/// A 3×3 convolution without bias and its batch norm (Ioffe and Szegedy 2015), then ReLU.
#[derive(Debug, Clone, Copy)]
pub struct ConvNormRelu {
    weight: usize,
    gain: usize,
    shift: usize,
    mean: usize,
    variance: usize,
}

/// PyTorch's defaults.
const MOMENTUM: f64 = 0.1;
const EPSILON: f64 = 1e-5;

impl ConvNormRelu {
    /// Declares the layer under PyTorch's names for a convolution and its batch norm.
    pub fn new(layout: &mut Layout, conv: &str, norm: &str, inputs: i64, outputs: i64) -> Self {
        let bound = Init::Uniform(1.0 / ((9 * inputs) as f64).sqrt());
        Self {
            weight: layout.parameter(format!("{conv}.weight"), &[outputs, inputs, 3, 3], bound),
            gain: layout.parameter(format!("{norm}.weight"), &[outputs], Init::Constant(1.0)),
            shift: layout.parameter(format!("{norm}.bias"), &[outputs], Init::Constant(0.0)),
            mean: layout.buffer(format!("{norm}.running_mean"), outputs, 0.0),
            variance: layout.buffer(format!("{norm}.running_var"), outputs, 1.0),
        }
    }

    /// `[N, inputs, H, W]` to `[N, outputs, H, W]`.
    pub fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor) -> Tensor {
        let convolved = convolve(input, &parameters[self.weight], None);
        let (gain, shift) = (Some(&parameters[self.gain]), Some(&parameters[self.shift]));
        let (mean, variance) = (Some(&buffers[self.mean]), Some(&buffers[self.variance]));
        convolved.batch_norm(gain, shift, mean, variance, true, MOMENTUM, EPSILON, true).relu_()
    }

    /// Appends a weight and a bias that do what convolution and batch norm do together.
    pub fn fold(&self, parameters: &[Tensor], buffers: &[Tensor], folded: &mut Vec<Tensor>) {
        let factor = &parameters[self.gain] / (&buffers[self.variance] + EPSILON).sqrt(); // [outputs]
        folded.push(&parameters[self.weight] * factor.view([-1, 1, 1, 1]));
        folded.push(&parameters[self.shift] - &buffers[self.mean] * &factor);
    }

    /// The same as [`ConvNormRelu::train`] with running statistics, from the next two folded
    /// weights.
    pub fn infer<'a>(folded: &mut impl Iterator<Item = &'a Tensor>, input: &Tensor) -> Tensor {
        match (folded.next(), folded.next()) {
            (Some(weight), Some(bias)) => convolve(input, weight, Some(bias)).relu_(),
            _ => unreachable!("fold makes two weights a layer"),
        }
    }
}

fn convolve(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    input.conv2d(weight, bias, [1, 1], [1, 1], [1, 1], 1)
}

/// A linear layer with bias.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    weight: usize,
    bias: usize,
}

impl Linear {
    /// Declares the layer under PyTorch's names.
    pub fn new(layout: &mut Layout, name: &str, inputs: i64, outputs: i64) -> Self {
        let bound = Init::Uniform(1.0 / (inputs as f64).sqrt());
        Self {
            weight: layout.parameter(format!("{name}.weight"), &[outputs, inputs], bound),
            bias: layout.parameter(format!("{name}.bias"), &[outputs], bound),
        }
    }

    /// `[N, inputs]` to `[N, outputs]`.
    pub fn train(&self, parameters: &[Tensor], input: &Tensor) -> Tensor {
        let bias = parameters[self.bias].to_kind(input.kind());
        input.linear(&parameters[self.weight], Some(&bias))
    }

    /// Appends weight and bias as they are.
    pub fn fold(&self, parameters: &[Tensor], folded: &mut Vec<Tensor>) {
        folded.push(parameters[self.weight].copy());
        folded.push(parameters[self.bias].copy());
    }

    /// The same as [`Linear::train`], from the next two folded weights.
    pub fn infer<'a>(folded: &mut impl Iterator<Item = &'a Tensor>, input: &Tensor) -> Tensor {
        match (folded.next(), folded.next()) {
            (Some(weight), Some(bias)) => input.linear(weight, Some(bias)),
            _ => unreachable!("fold makes two weights a layer"),
        }
    }
}
