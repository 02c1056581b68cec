//! What is learned: networks as functions of flat weights. One file a model, one row in
//! [`MODELS`].

mod convnet;
pub mod layers;
mod mlp;

use crate::error::Result;
use crate::registry::{Entry, Registry, Spec, resolve};
use crate::samples::{Format, Shape};
use layers::Layout;
use tch::Tensor;

/// What a network says of a batch of N samples.
#[derive(Debug)]
pub struct Output {
    /// `[N, C]` f32.
    pub logits: Tensor,
    /// `[N, F]`: what goes into the last layer.
    pub features: Tensor,
}

/// A network without its weights.
pub trait Model {
    /// Names, shapes and places of the weights.
    fn layout(&self) -> &Layout;

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
    ],
};

/// The model a job names when it names none.
pub fn default_for(shape: Shape) -> &'static str {
    match shape {
        Shape::Image { .. } => "convnet",
        Shape::Vector { .. } => "mlp",
    }
}
