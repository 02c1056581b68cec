//! Networks as functions of flat weights. One file per model, one row in [`MODELS`].

mod convnet;
pub mod heads;
pub mod layers;
pub mod layout;
mod mlp;
mod resnet18;
mod torchscript;
mod wide_resnet;

use crate::device::Compute;
use crate::error::Result;
use crate::randomness::Draws;
use crate::registry::{Entry, Registry, Spec, resolve};
use crate::samples::{Format, Shape};
use heads::Head;
use layout::Layout;
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
pub trait Model {
    /// Returns names, shapes and places of the weights.
    fn layout(&self) -> &Layout;

    /// Returns the width F of the features.
    fn features(&self) -> i64;

    /// Returns the device and precision that the model uses in a job with `compute`.
    fn compute(&self, compute: Compute) -> Compute {
        compute
    }

    /// Returns the tensors for the next [`Model::train`], which is differentiated by them, from `views`
    /// of the weights in the layout's order. Random draws of that pass come from `draws`.
    fn leaves(&self, views: Vec<Tensor>, _draws: &mut Draws) -> Vec<Tensor> {
        views
    }

    /// Runs a training pass with batch statistics, which also updates the running ones in `buffers`.
    /// `input` is `[N, …]`; `parameters` and `buffers` are in the layout's order.
    fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor) -> Output;

    /// Prepares weights for [`Model::infer`]: batch norm is folded into the layer before it.
    fn fold(&self, parameters: &[Tensor], buffers: &[Tensor]) -> Vec<Tensor>;

    /// Runs inference with running statistics, from folded weights.
    fn infer(&self, folded: &[Tensor], input: &Tensor) -> Output;
}

/// Builds a model for samples of a format.
pub type Build = fn(&Spec, &Format) -> Result<Box<dyn Model>>;

/// Every model a job can name.
pub static MODELS: Registry<Build> = Registry {
    what: "model",
    entries: &[
        Entry {
            name: "convnet",
            about: "images: 3×3 convolutions with batch norm; by default three, sized by the image",
            resolve: resolve::<convnet::Settings>,
            build: convnet::build,
        },
        Entry {
            name: "mlp",
            about: "vectors (or flattened images): linear layers with ReLU",
            resolve: resolve::<mlp::Settings>,
            build: mlp::build,
        },
        Entry {
            name: "resnet18",
            about: "images: torchvision's resnet18 with a stem for small ones (He et al. 2016)",
            resolve: resolve::<resnet18::Settings>,
            build: resnet18::build,
        },
        Entry {
            name: "torchscript",
            about: "a file of your own, as torch.jit.save writes it, trained in place",
            resolve: torchscript::resolve,
            build: torchscript::build,
        },
        Entry {
            name: "wide-resnet",
            about: "images: WRN-28-2 or of other depth and width (Zagoruyko and Komodakis 2016)",
            resolve: resolve::<wide_resnet::Settings>,
            build: wide_resnet::build,
        },
    ],
};

/// Builds a job's model with the heads that its method needs.
pub fn build(spec: &Spec, format: &Format, heads: &'static [Head]) -> Result<Box<dyn Model>> {
    let model = (MODELS.find(&spec.kind)?.build)(spec, format)?;
    Ok(heads::with_heads(model, heads, format.classes.len() as i64))
}

/// Returns the default model for samples of a shape.
pub fn default_for(shape: Shape) -> &'static str {
    match shape {
        Shape::Image { .. } => "convnet",
        Shape::Vector { .. } => "mlp",
    }
}
