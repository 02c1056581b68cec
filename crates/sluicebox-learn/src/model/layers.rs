//! The layers that models are built from.

use crate::model::layout::{Init, Layout};
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
    pub fn fold(&self, copies: &[Tensor], folded: &mut Vec<Tensor>) {
        folded.push(copies[self.weight].shallow_clone());
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

    /// Returns what applies the running statistics of each of several layers, by a few operations for all of them. They
    /// must have the same epsilon.
    pub fn affine(norms: &[&Self], parameters: &[Tensor], buffers: &[Tensor], kind: Kind) -> Vec<Affine> {
        let epsilon = norms[0].constants.epsilon;
        assert!(norms.iter().all(|norm| norm.constants.epsilon == epsilon), "the layers have one epsilon");
        let variances = norms.iter().map(|norm| &buffers[norm.variance]);
        let means = norms.iter().map(|norm| &buffers[norm.mean]);
        let gains = norms.iter().map(|norm| &parameters[norm.gain]);
        let shifts = norms.iter().map(|norm| &parameters[norm.shift]);
        let rows: Vec<&Tensor> = variances.chain(means).chain(gains).chain(shifts).collect();
        let rows = Tensor::cat(&rows, 0).view([4, -1]);
        let [mut variance, mean, mut factor, mut summand] = [0, 1, 2, 3].map(|row| rows.get(row));
        let _ = factor.g_div_(&variance.g_add_scalar_(epsilon).sqrt_());
        let _ = summand.g_sub_(&(mean * &factor));
        let cast = rows.narrow(0, 2, 2).to_kind(kind);
        let widths: Vec<i64> = norms.iter().map(|norm| parameters[norm.gain].size()[0]).collect();
        let parts = factor.split_with_sizes(&widths, 0).into_iter().zip(cast.split_with_sizes(&widths, 1));
        parts.map(|(exact, cast)| Affine { exact, factor: cast.get(0), summand: cast.get(1) }).collect()
    }

    /// Appends the factor and the summand.
    pub fn fold(affine: &Affine, folded: &mut Vec<Tensor>) {
        folded.extend([affine.factor.view([-1, 1, 1]), affine.summand.view([-1, 1, 1])]);
    }

    /// Computes [`BatchNorm::train`] with running statistics, from the next two folded weights.
    pub fn infer<'a>(folded: &mut impl Iterator<Item = &'a Tensor>, input: &Tensor) -> Tensor {
        let (factor, summand) = (next(folded), next(folded));
        summand.addcmul(input, factor)
    }
}

/// Batch norm with running statistics as a factor and a summand for each channel: `[width]`.
pub struct Affine {
    /// The factor in f32.
    exact: Tensor,
    /// The factor in the number type of inference.
    factor: Tensor,
    /// The summand in the number type of inference.
    summand: Tensor,
}

/// A convolution followed by batch norm.
#[derive(Debug, Clone, Copy)]
pub struct ConvNorm {
    convolution: Convolution,
    /// Its batch norm.
    pub norm: BatchNorm,
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

    /// Appends a weight and a bias that combine the convolution and the batch norm. The weight takes the place of its
    /// copy.
    pub fn fold(&self, affine: &Affine, parameters: &[Tensor], copies: &[Tensor], folded: &mut Vec<Tensor>) {
        let (weight, copy) = (&parameters[self.convolution.weight], &copies[self.convolution.weight]);
        folded.push(weight.mul_out(copy, &affine.exact.view([-1, 1, 1, 1])));
        folded.push(affine.summand.shallow_clone());
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
    pub fn fold(&self, copies: &[Tensor], folded: &mut Vec<Tensor>) {
        folded.extend([&copies[self.weight], &copies[self.bias]].map(Tensor::shallow_clone));
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
