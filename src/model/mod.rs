//! What is learned: networks as functions of flat weights. One file a model, one row in
//! [`MODELS`].

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

/// What a network says of a batch of N samples.
#[derive(Debug)]
pub struct Output {
    /// `[N, C]` f32.
    pub logits: Tensor,
    /// `[N, F]`: what goes into the last layer.
    pub features: Tensor,
    /// What each of the heads makes of the features: `[N, outputs]` f32.
    pub heads: Vec<Tensor>,
}

impl Output {
    /// The output of each part of a batch, given their sizes.
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
    /// Names, shapes and places of the weights.
    fn layout(&self) -> &Layout;

    /// F: the width of its features.
    fn features(&self) -> i64;

    /// Where and how it computes in a job that computes so.
    fn compute(&self, compute: Compute) -> Compute {
        compute
    }

    /// The tensors that the next [`Model::train`] is differentiated by and is given, made of views
    /// of the weights in the layout's order. What is drawn in that pass comes from `draws`.
    fn leaves(&self, views: Vec<Tensor>, _draws: &mut Draws) -> Vec<Tensor> {
        views
    }

    /// Training: batch statistics, which also move the running ones in `buffers`.
    /// `input` is `[N, …]`; `parameters` and `buffers` are in the layout's order.
    fn train(&self, parameters: &[Tensor], buffers: &[Tensor], input: &Tensor) -> Output;

    /// Weights made ready for [`Model::infer`]: batch norm folded into what precedes it.
    fn fold(&self, parameters: &[Tensor], buffers: &[Tensor]) -> Vec<Tensor>;

    /// Inference with running statistics, from folded weights.
    fn infer(&self, folded: &[Tensor], input: &Tensor) -> Output;
}

/// Makes a model for samples of a format.
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

/// A job's model, with the heads that its method wants.
pub fn build(spec: &Spec, format: &Format, heads: &'static [Head]) -> Result<Box<dyn Model>> {
    let model = (MODELS.find(&spec.kind)?.build)(spec, format)?;
    Ok(heads::with_heads(model, heads, format.classes.len() as i64))
}

/// The model a job names when it names none.
pub fn default_for(shape: Shape) -> &'static str {
    match shape {
        Shape::Image { .. } => "convnet",
        Shape::Vector { .. } => "mlp",
    }
}
