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

    /// Normalises `[N, width, H, W]` by the batch's statistics, which also update the running ones. Those are the mean
    /// of all batches until `momentum` gives the newest one more weight: their start does not count, however small the
    /// momentum. `passes` is the number of batches before. One value per channel has no variance: then the running
    /// statistics normalise it, and stay as they are.
    pub fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor, passes: u64) -> Tensor {
        let (gain, shift) = (Some(&parameters[self.gain]), Some(&parameters[self.shift]));
        let (mean, variance) = (Some(&buffers[self.mean]), Some(&buffers[self.variance]));
        let Norm { momentum, epsilon } = self.constants;
        let momentum = momentum.max(1.0 / (passes as f64 + 1.0));
        let several = input.numel() as i64 > input.size()[1];
        input.batch_norm(gain, shift, mean, variance, several, momentum, epsilon, true)
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
    pub fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor, passes: u64) -> Tensor {
        self.norm.train(parameters, buffers, &self.convolution.train(parameters, input), passes)
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

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// A layer of one channel with this momentum: weights and running statistics.
    fn norm(momentum: f64) -> (BatchNorm, [Tensor; 2], [Tensor; 2]) {
        let norm = BatchNorm::new(&mut Layout::default(), "norm", 1, Norm { momentum, epsilon: 1e-5 });
        let (zero, one) = (|| Tensor::from_slice(&[0.0f32]), || Tensor::from_slice(&[1.0f32]));
        (norm, [one(), zero()], [zero(), one()])
    }

    #[test]
    fn running_statistics_are_the_mean_of_all_batches_until_the_momentum_is_more() {
        let (norm, weights, statistics) = norm(0.25);
        let mut by_hand = 0.0;
        for passes in 0..8 {
            let mean = f64::from(1 << passes);
            let input = Tensor::from_slice(&[mean - 1.0, mean + 1.0]).to_kind(Kind::Float).view([2, 1, 1, 1]);
            let _ = norm.train(&weights, &statistics, &input, passes);
            let momentum = f64::max(0.25, 1.0 / (passes + 1) as f64);
            by_hand += momentum * (mean - by_hand);
            assert!((statistics[0].double_value(&[0]) - by_hand).abs() < 1e-4, "{passes}");
            assert!(
                (statistics[1].double_value(&[0]) - 2.0).abs() < 1e-4,
                "the first variance of 1 does not count"
            );
        }
    }

    #[test]
    fn one_value_per_channel_is_normalised_by_the_running_statistics() {
        let (norm, weights, statistics) = norm(0.1);
        let one = Tensor::full([1, 1, 1, 1], 3.0, (Kind::Float, Device::Cpu));
        let found = norm.train(&weights, &statistics, &one, 0);
        assert!((found.double_value(&[0, 0, 0, 0]) - 3.0).abs() < 1e-3);
        assert_eq!((statistics[0].double_value(&[0]), statistics[1].double_value(&[0])), (0.0, 1.0));
        let map = Tensor::from_slice(&[1.0f32, 3.0]).view([1, 1, 1, 2]);
        let _ = norm.train(&weights, &statistics, &map, 0);
        assert_eq!(statistics[0].double_value(&[0]), 2.0, "a map of two values has a mean");
    }
}
