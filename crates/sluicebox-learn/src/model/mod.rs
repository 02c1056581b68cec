//! Networks as functions of flat weights. One file per model, one row in [`MODELS`].

pub mod api;
mod convnet;
mod convolutional;
pub mod export;
pub mod heads;
pub mod layers;
pub mod layout;
mod mlp;
pub mod normalise;
mod resnet18;
pub mod start;
mod torchscript;
mod wide_resnet;

use crate::model::api::{Build, Model};
use heads::Head;
use sluicebox_core::config::document::{Document, Section};
use sluicebox_core::config::registry::{Entry, Registry, Spec};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use start::{KEYS, Start};

/// Every model a job can name.
pub static MODELS: Registry<Build> = Registry {
    what: "model",
    entries: &[
        Entry::new::<convnet::Settings>(
            "convnet",
            "images: 3×3 convolutions with batch norm; by default three, with channels chosen by image size",
            convnet::build,
        ),
        Entry::new::<mlp::Settings>(
            "mlp",
            "vectors (or flattened images): linear layers with ReLU",
            mlp::build,
        ),
        Entry::new::<resnet18::Settings>(
            "resnet18",
            "images: torchvision's resnet18 with a stem for small images (He et al. 2016)",
            resnet18::build,
        ),
        Entry {
            name: "torchscript",
            about: "your own network from a TorchScript file (torch.jit.save); its weights are trained further",
            resolve: torchscript::resolve,
            changeable: <torchscript::Settings as sluicebox_core::config::document::Settings>::changeable,
            schema: sluicebox_core::config::schema::of::<torchscript::Settings>,
            build: torchscript::build,
        },
        Entry::new::<wide_resnet::Settings>(
            "wide-resnet",
            "images: wide residual network, by default WRN-28-2 (Zagoruyko and Komodakis 2016)",
            wide_resnet::build,
        ),
    ],
};

/// Reads the section `[model]`: the model's own options, and those that every model has.
pub fn resolve(document: &mut Document, mut section: Section<'_>) -> Option<Spec> {
    let (whole, mut common) = (section.clone(), section.clone());
    common.keys().iter().filter(|key| !KEYS.contains(&key.as_str())).for_each(|key| common.remove(key));
    KEYS.iter().for_each(|key| section.remove(key));
    let common: Start = document.read(common)?;
    let mut spec = MODELS.resolve(document, section, Some("convnet"))?;
    if spec.kind == "torchscript" && common.init.is_some() {
        let reason = "a TorchScript file brings its own weights: save it with those to start from";
        document.fault(&whole, "init", reason);
    }
    if spec.kind == "torchscript" && common.normalise.is_some() {
        let reason = "a TorchScript file has a network of your own: let it normalise its input itself";
        document.fault(&whole, "normalise", reason);
    }
    spec.options.extend(toml::Table::try_from(&common).ok()?);
    Some(spec)
}

/// Builds a job's model with the heads that its method needs.
pub fn build(spec: &Spec, format: &Format, heads: &'static [Head]) -> Result<Box<dyn Model>> {
    if let Some(reason) = refuses(&spec.kind, heads) {
        return Err(Error::Request(format!("the method {reason}: name another one")));
    }
    let (own, start) = start::split(spec)?;
    let network = || {
        let model = (MODELS.find(&spec.kind)?.build)(&own, format)?;
        match &start.normalise {
            Some(settings) => normalise::normalised(model, settings, format.shape),
            None => Ok(model),
        }
    };
    heads::with_heads(network()?, heads, format.classes.len() as i64, network)
}

/// Returns why a model cannot have these heads, if it cannot.
pub fn refuses(kind: &str, heads: &[Head]) -> Option<&'static str> {
    let needs_another = kind == "torchscript" && heads::twin(heads).is_some();
    needs_another.then_some("trains two networks that start differently, but a TorchScript file holds one")
}
