//! Networks as functions of flat weights. One file per model, one row in [`MODELS`].

pub mod api;
mod convnet;
pub mod heads;
pub mod layers;
pub mod layout;
mod mlp;
mod resnet18;
mod torchscript;
mod wide_resnet;

use crate::model::api::{Build, Model};
use heads::Head;
use sluicebox_core::config::registry::{Entry, Registry, Spec, resolve};
use sluicebox_core::error::Result;
use sluicebox_core::sample::Format;

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
