//! The layers that models are built from.

use crate::model::layout::{Init, Layout};
use crate::torch::copied;
use tch::{Kind, Tensor};

/// A convolution without bias.
#[derive(Debug, Clone, Copy)]
pub struct Convolution {
    weight: usize,
    stride: i64,
    padding: i64,
}

impl Convolution {
    /// Declares the layer under PyTorch's name. `shape` is `[outputs, inputs, side, side]` with an odd
    /// side; the padding keeps the image size up to the stride.
    pub fn new(layout: &mut Layout, name: &str, shape: [i64; 4], stride: i64, init: Init) -> Self {
        let weight = layout.parameter(format!("{name}.weight"), &shape, init);
        Self { weight, stride, padding: shape[3] / 2 }
    }

    /// Maps `[N, inputs, H, W]` to `[N, outputs, H/stride, W/stride]`.
    pub fn train(&self, parameters: &[Tensor], input: &Tensor) -> Tensor {
        self.convolve(input, &parameters[self.weight], None)
    }

    /// Appends the unchanged weight.
    pub fn fold(&self, parameters: &[Tensor], folded: &mut Vec<Tensor>) {
        folded.push(copied(&parameters[self.weight]));
    }

    /// Computes [`Convolution::train`] from the next folded weight.
    pub fn infer<'a>(&self, folded: &mut impl Iterator<Item = &'a Tensor>, input: &Tensor) -> Tensor {
        self.convolve(input, next(folded), None)
    }

    fn convolve(&self, input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        input.conv2d(weight, bias, stride, padding, [1, 1], 1)
    }
}

/// Returns the initialisation of a convolution before ReLU by He et al. 2015 (equation 14): normal,
/// with variance 2/(outputs·side²). `shape` is that of the weight.
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
    /// Weight of a batch in the running statistics (PyTorch's momentum).
    pub momentum: f64,
    /// Added to the variance to keep the division finite.
    pub epsilon: f64,
}

impl Default for Norm {
    /// Returns PyTorch's constants.
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

    /// Normalises `[N, width, H, W]` by the batch's statistics, which also update the running ones.
    pub fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor) -> Tensor {
        let (gain, shift) = (Some(&parameters[self.gain]), Some(&parameters[self.shift]));
        let (mean, variance) = (Some(&buffers[self.mean]), Some(&buffers[self.variance]));
        let Norm { momentum, epsilon } = self.constants;
        input.batch_norm(gain, shift, mean, variance, true, momentum, epsilon, true)
    }

    /// Returns the factor and the summand for each channel, `[width]`, that apply the running statistics.
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

    /// Computes [`BatchNorm::train`] with running statistics, from the next two folded weights.
    pub fn infer<'a>(folded: &mut impl Iterator<Item = &'a Tensor>, input: &Tensor) -> Tensor {
        let (factor, summand) = (next(folded), next(folded));
        summand.addcmul(input, factor)
    }
}

/// A convolution followed by batch norm.
#[derive(Debug, Clone, Copy)]
pub struct ConvNorm {
    convolution: Convolution,
    norm: BatchNorm,
}

impl ConvNorm {
    /// Combines two declared layers.
    pub fn new(convolution: Convolution, norm: BatchNorm) -> Self {
        Self { convolution, norm }
    }

    /// Declares a 3×3 convolution with PyTorch's initialisation and constants, under PyTorch's names.
    pub fn plain(layout: &mut Layout, conv: &str, norm: &str, inputs: i64, outputs: i64) -> Self {
        let bound = Init::Uniform(1.0 / ((9 * inputs) as f64).sqrt());
        let convolution = Convolution::new(layout, conv, [outputs, inputs, 3, 3], 1, bound);
        Self::new(convolution, BatchNorm::new(layout, norm, outputs, Norm::default()))
    }

    /// Maps `[N, inputs, H, W]` to `[N, outputs, H/stride, W/stride]`.
    pub fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor) -> Tensor {
        self.norm.train(parameters, buffers, &self.convolution.train(parameters, input))
    }

    /// Appends a weight and a bias that combine the convolution and the batch norm.
    pub fn fold(&self, parameters: &[Tensor], buffers: &[Tensor], folded: &mut Vec<Tensor>) {
        let (factor, summand) = self.norm.affine(parameters, buffers);
        folded.push(&parameters[self.convolution.weight] * factor.view([-1, 1, 1, 1]));
        folded.push(summand);
    }

    /// Computes [`ConvNorm::train`] with running statistics, from the next two folded weights.
    pub fn infer<'a>(&self, folded: &mut impl Iterator<Item = &'a Tensor>, input: &Tensor) -> Tensor {
        let (weight, bias) = (next(folded), next(folded));
        self.convolution.convolve(input, weight, Some(bias))
    }
}

/// Returns the next folded weight.
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

    /// Declares the layer with other initialisations.
    pub fn starting(layout: &mut Layout, name: &str, widths: [i64; 2], weight: Init, bias: Init) -> Self {
        let [inputs, outputs] = widths;
        Self {
            weight: layout.parameter(format!("{name}.weight"), &[outputs, inputs], weight),
            bias: layout.parameter(format!("{name}.bias"), &[outputs], bias),
        }
    }

    /// Maps `[N, inputs]` to `[N, outputs]`.
    pub fn train(&self, parameters: &[Tensor], input: &Tensor) -> Tensor {
        let bias = parameters[self.bias].to_kind(input.kind());
        input.linear(&parameters[self.weight], Some(&bias))
    }

    /// Appends the unchanged weight and bias.
    pub fn fold(&self, parameters: &[Tensor], folded: &mut Vec<Tensor>) {
        folded.push(copied(&parameters[self.weight]));
        folded.push(copied(&parameters[self.bias]));
    }

    /// Computes [`Linear::train`] from the next two folded weights.
    pub fn infer<'a>(folded: &mut impl Iterator<Item = &'a Tensor>, input: &Tensor) -> Tensor {
        let (weight, bias) = (next(folded), next(folded));
        input.linear(weight, Some(bias))
    }
}
