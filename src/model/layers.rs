//! The layers models are made of.

use super::layout::{Init, Layout};
use tch::{Kind, Tensor};

/// A convolution without bias.
#[derive(Debug, Clone, Copy)]
pub struct Convolution {
    weight: usize,
    stride: i64,
    padding: i64,
}

impl Convolution {
    /// Declares the layer under PyTorch's name. `shape` is `[outputs, inputs, side, side]`, with a
    /// side that is odd; the image keeps its size but for the stride.
    pub fn new(layout: &mut Layout, name: &str, shape: [i64; 4], stride: i64, init: Init) -> Self {
        let weight = layout.parameter(format!("{name}.weight"), &shape, init);
        Self { weight, stride, padding: shape[3] / 2 }
    }

    /// `[N, inputs, H, W]` to `[N, outputs, H/stride, W/stride]`.
    pub fn train(&self, parameters: &[Tensor], input: &Tensor) -> Tensor {
        self.convolve(input, &parameters[self.weight], None)
    }

    /// Appends the weight as it is.
    pub fn fold(&self, parameters: &[Tensor], folded: &mut Vec<Tensor>) {
        folded.push(parameters[self.weight].copy());
    }

    /// The same as [`Convolution::train`], from the next folded weight.
    pub fn infer<'a>(&self, folded: &mut impl Iterator<Item = &'a Tensor>, input: &Tensor) -> Tensor {
        self.convolve(input, next(folded), None)
    }

    fn convolve(&self, input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        input.conv2d(weight, bias, stride, padding, [1, 1], 1)
    }
}

/// The start of a convolution for ReLU by He et al. 2015 (equation 14): normal, with a variance of
/// 2/(outputs·side²). `shape` is the weight's.
pub fn he(shape: [i64; 4]) -> Init {
    Init::Normal((2.0 / (shape[0] * shape[2] * shape[3]) as f64).sqrt())
}

/// Batch norm (Ioffe and Szegedy 2015).
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm {
    gain: usize,
    shift: usize,
    mean: usize,
    variance: usize,
    constants: Norm,
}

/// Constants of batch norm.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// Part of the running statistics that a batch replaces.
    pub momentum: f64,
    /// Keeps the division finite.
    pub epsilon: f64,
}

impl Default for Norm {
    /// PyTorch's.
    fn default() -> Self {
        Self { momentum: 0.1, epsilon: 1e-5 }
    }
}

impl BatchNorm {
    /// Declares the layer under PyTorch's names, for images of `width` channels.
    pub fn new(layout: &mut Layout, name: &str, width: i64, constants: Norm) -> Self {
        Self {
            gain: layout.parameter(format!("{name}.weight"), &[width], Init::Constant(1.0)),
            shift: layout.parameter(format!("{name}.bias"), &[width], Init::Constant(0.0)),
            mean: layout.buffer(format!("{name}.running_mean"), &[width], Kind::Float, Init::Constant(0.0)),
            variance: layout.buffer(
                format!("{name}.running_var"),
                &[width],
                Kind::Float,
                Init::Constant(1.0),
            ),
            constants,
        }
    }

    /// By the batch's statistics, which also move the running ones: `[N, width, H, W]`.
    pub fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor) -> Tensor {
        let (gain, shift) = (Some(&parameters[self.gain]), Some(&parameters[self.shift]));
        let (mean, variance) = (Some(&buffers[self.mean]), Some(&buffers[self.variance]));
        let Norm { momentum, epsilon } = self.constants;
        input.batch_norm(gain, shift, mean, variance, true, momentum, epsilon, true)
    }

    /// What running statistics make of it: a factor and a summand for each channel, `[width]`.
    fn affine(&self, parameters: &[Tensor], buffers: &[Tensor]) -> (Tensor, Tensor) {
        let deviation = (&buffers[self.variance] + self.constants.epsilon).sqrt();
        let factor = &parameters[self.gain] / deviation;
        let summand = &parameters[self.shift] - &buffers[self.mean] * &factor;
        (factor, summand)
    }

    /// Appends the factor and the summand.
    pub fn fold(&self, parameters: &[Tensor], buffers: &[Tensor], folded: &mut Vec<Tensor>) {
        let (factor, summand) = self.affine(parameters, buffers);
        folded.extend([factor.view([-1, 1, 1]), summand.view([-1, 1, 1])]);
    }

    /// The same as [`BatchNorm::train`] with running statistics, from the next two folded weights.
    pub fn infer<'a>(folded: &mut impl Iterator<Item = &'a Tensor>, input: &Tensor) -> Tensor {
        let (factor, summand) = (next(folded), next(folded));
        summand.addcmul(input, factor)
    }
}

/// A convolution and the batch norm of what it gives.
#[derive(Debug, Clone, Copy)]
pub struct ConvNorm {
    convolution: Convolution,
    norm: BatchNorm,
}

impl ConvNorm {
    /// Of layers that are declared.
    pub fn new(convolution: Convolution, norm: BatchNorm) -> Self {
        Self { convolution, norm }
    }

    /// A 3×3 convolution with PyTorch's start and constants, under PyTorch's names.
    pub fn plain(layout: &mut Layout, conv: &str, norm: &str, inputs: i64, outputs: i64) -> Self {
        let bound = Init::Uniform(1.0 / ((9 * inputs) as f64).sqrt());
        let convolution = Convolution::new(layout, conv, [outputs, inputs, 3, 3], 1, bound);
        Self::new(convolution, BatchNorm::new(layout, norm, outputs, Norm::default()))
    }

    /// `[N, inputs, H, W]` to `[N, outputs, H/stride, W/stride]`.
    pub fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor) -> Tensor {
        self.norm.train(parameters, buffers, &self.convolution.train(parameters, input))
    }

    /// Appends a weight and a bias that do what convolution and batch norm do together.
    pub fn fold(&self, parameters: &[Tensor], buffers: &[Tensor], folded: &mut Vec<Tensor>) {
        let (factor, summand) = self.norm.affine(parameters, buffers);
        folded.push(&parameters[self.convolution.weight] * factor.view([-1, 1, 1, 1]));
        folded.push(summand);
    }

    /// The same as [`ConvNorm::train`] with running statistics, from the next two folded weights.
    pub fn infer<'a>(&self, folded: &mut impl Iterator<Item = &'a Tensor>, input: &Tensor) -> Tensor {
        let (weight, bias) = (next(folded), next(folded));
        self.convolution.convolve(input, weight, Some(bias))
    }
}

/// The next folded weight.
fn next<'a>(folded: &mut impl Iterator<Item = &'a Tensor>) -> &'a Tensor {
    folded.next().unwrap_or_else(|| unreachable!("fold makes as many weights as infer takes"))
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
        Self::starting(layout, name, [inputs, outputs], bound.clone(), bound)
    }

    /// The same with another start.
    pub fn starting(layout: &mut Layout, name: &str, widths: [i64; 2], weight: Init, bias: Init) -> Self {
        let [inputs, outputs] = widths;
        Self {
            weight: layout.parameter(format!("{name}.weight"), &[outputs, inputs], weight),
            bias: layout.parameter(format!("{name}.bias"), &[outputs], bias),
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
        let (weight, bias) = (next(folded), next(folded));
        input.linear(weight, Some(bias))
    }
}
