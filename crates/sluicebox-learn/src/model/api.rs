//! The contract of a model: a network as a function of flat weights.

use super::layout::Layout;
use crate::device::Compute;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::Result;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Format;
use tch::Tensor;

/// A network's output for a batch of N samples.
#[derive(Debug)]
pub struct Output {
    /// `[N, C]` f32 logits.
    pub logits: Tensor,
    /// `[N, F]`: the input of the last layer.
    pub features: Tensor,
    /// Output of each head: `[N, outputs]` f32.
    pub heads: Vec<Tensor>,
}

impl Output {
    /// Splits the output into parts of a batch with these sizes.
    pub fn split(&self, sizes: &[i64]) -> Vec<Output> {
        let part = |tensor: &Tensor| tensor.split_with_sizes(sizes, 0).into_iter();
        let mut heads: Vec<_> = self.heads.iter().map(part).collect();
        let parts = part(&self.logits).zip(part(&self.features)).map(|(logits, features)| {
            let heads = heads.iter_mut().filter_map(Iterator::next).collect();
            Output { logits, features, heads }
        });
        parts.collect()
    }
}

/// A network without its weights.
///
/// ```
/// use sluicebox_core::config::registry::Spec;
/// use sluicebox_core::rng::{Randomness, Stage};
/// use sluicebox_core::sample::{Dtype, Format, Shape};
/// use sluicebox_learn::device::{Compute, Precision};
/// use sluicebox_learn::{model, weights::Replica};
/// use tch::{Device, Kind, Tensor};
///
/// let spec = Spec { kind: "mlp".into(), options: "hidden = [8]".parse().unwrap() };
/// let classes = vec!["ant".into(), "bee".into()];
/// let format = Format { shape: Shape::Vector { features: 4 }, dtype: Dtype::F32, scale: 1.0, classes };
/// let model = model::build(&spec, &format, &[])?;
/// let compute = Compute { device: Device::Cpu, precision: Precision::F32 };
/// let mut draws = Randomness::new(0, 0).at(0, Stage::Weights);
/// let first = Replica::first(model.layout(), compute, &mut draws);
/// let folded = model.fold(first.parameters(), first.buffers(), first.copies(Kind::Float));
/// let output = model.infer(&folded, &Tensor::zeros([5, 4], (Kind::Float, Device::Cpu)));
/// assert_eq!((output.logits.size(), output.features.size()), (vec![5, 2], vec![5, 8]));
/// # Ok::<(), sluicebox_core::error::Error>(())
/// ```
pub trait Model {
    /// Returns names, shapes and places of the weights.
    fn layout(&self) -> &Layout;

    /// Returns the width F of the features.
    fn features(&self) -> i64;

    /// Returns the device and precision that the model uses in a job with `compute`.
    fn compute(&self, compute: Compute) -> Compute {
        compute
    }

    /// Converts a batch `[N, …]` f32 to the input of [`Model::train`] and [`Model::infer`].
    fn input(&self, compute: Compute, batch: &Tensor) -> Tensor {
        compute.input(batch)
    }

    /// Returns the tensors for the next [`Model::train`], which is differentiated by them, from `views`
    /// of the weights in the layout's order. Random draws of that pass come from `draws`.
    fn leaves(&self, views: Vec<Tensor>, _draws: &mut Draws) -> Vec<Tensor> {
        views
    }

    /// Runs a training pass with batch statistics, which also updates the running ones in `buffers`.
    /// `input` is `[N, …]`; `parameters` and `buffers` are in the layout's order; `passes` is the number of
    /// training passes before this one.
    fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor, passes: u64) -> Output;

    /// Returns the least number of samples that [`Model::train`] takes.
    fn least_batch(&self) -> u64 {
        1
    }

    /// Prepares weights for [`Model::infer`]: batch norm is folded into the layer before it. `copies` are those of
    /// `parameters` in the number type of inference; they may be changed.
    fn fold(&self, parameters: &[Tensor], buffers: &[Tensor], copies: Vec<Tensor>) -> Vec<Tensor>;

    /// Returns the place of a second network's logits in [`Output::heads`], if the model has two networks.
    fn twin(&self) -> Option<usize> {
        None
    }

    /// Runs inference with running statistics, from folded weights.
    fn infer(&self, folded: &[Tensor], input: &Tensor) -> Output;
}

/// Builds a model for samples of a format.
pub type Build = fn(&Spec, &Format) -> Result<Box<dyn Model>>;
