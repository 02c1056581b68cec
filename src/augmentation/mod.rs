//! Augmentations: batched tensor operations with parameters drawn per sample, on the batch's device.
//! One file per augmentation, one row in [`AUGMENTATIONS`].

mod affine;
mod block_mask;
mod colour;
mod cutout;
mod flip_crop;
mod jitter;
mod mask;
pub mod mix;
mod noise;
pub mod randaugment;
mod splice;
pub mod views;

use crate::device::upload;
use crate::document::Settings;
use crate::error::Result;
use crate::randomness::Draws;
use crate::registry::{Entry, Registry, Spec, resolve, settings};
use crate::samples::Shape;
use rand::RngExt;
use std::sync::{Mutex, PoisonError};
use tch::Tensor;

/// One operation on a batch.
pub trait Augmentation {
    /// Returns a changed copy of `batch`: `[B, C, H, W]` f32 in 0 to 1, or `[B, F]` f32. Same shape.
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor;

    /// Returns the reason why the operation does not fit samples of this shape, if it does not.
    fn refuses(&self, shape: Shape) -> Option<String>;
}

/// Makes an augmentation from resolved options.
pub type Build = fn(&Spec) -> Result<Box<dyn Augmentation>>;

/// Builds an augmentation that is its own settings.
fn build<T: Augmentation + Settings + 'static>(spec: &Spec) -> Result<Box<dyn Augmentation>> {
    Ok(Box::new(settings::<T>(spec)?))
}

/// Every augmentation a job can name.
pub static AUGMENTATIONS: Registry<Build> = Registry {
    what: "augmentation",
    entries: &[
        Entry {
            name: "flip-crop",
            about: "images: mirror with a chance, shift by a few pixels with reflected borders",
            resolve: resolve::<flip_crop::FlipCrop>,
            build: build::<flip_crop::FlipCrop>,
        },
        Entry {
            name: "affine",
            about: "images: turn, scale, shear and shift, bilinear",
            resolve: resolve::<affine::Affine>,
            build: build::<affine::Affine>,
        },
        Entry {
            name: "colour",
            about: "images: brightness, contrast and (with three channels) saturation",
            resolve: resolve::<colour::Colour>,
            build: build::<colour::Colour>,
        },
        Entry {
            name: "noise",
            about: "images: Gaussian noise, of another strength in each sample",
            resolve: resolve::<noise::Noise>,
            build: build::<noise::Noise>,
        },
        Entry {
            name: "cutout",
            about: "images: one square filled with a constant (DeVries and Taylor 2017)",
            resolve: resolve::<cutout::Cutout>,
            build: build::<cutout::Cutout>,
        },
        Entry {
            name: "block-mask",
            about: "images: blocks of a grid filled with a constant (Hoyer et al. 2023)",
            resolve: resolve::<block_mask::BlockMask>,
            build: build::<block_mask::BlockMask>,
        },
        Entry {
            name: "randaugment",
            about: "images: a few of 14 operations, drawn as FixMatch (google) or USB (usb) draw them",
            resolve: resolve::<randaugment::RandAugment>,
            build: build::<randaugment::RandAugment>,
        },
        Entry {
            name: "jitter",
            about: "vectors: Gaussian noise on each feature",
            resolve: resolve::<jitter::Jitter>,
            build: build::<jitter::Jitter>,
        },
        Entry {
            name: "mask",
            about: "vectors: a part of the features set to zero",
            resolve: resolve::<mask::Mask>,
            build: build::<mask::Mask>,
        },
    ],
};

/// Augmentations in the order in which they are applied.
pub struct Policy(Vec<Box<dyn Augmentation>>);

impl Policy {
    /// Builds the policy for a job's list of augmentations.
    pub fn build(specs: &[Spec]) -> Result<Self> {
        let one = |spec: &Spec| (AUGMENTATIONS.find(&spec.kind)?.build)(spec);
        Ok(Self(specs.iter().map(one).collect::<Result<_>>()?))
    }

    /// Returns a view of `batch` `[B, …]` f32 with the same shape.
    pub fn view(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
        let start = batch.shallow_clone();
        if batch.size()[0] == 0 {
            return start;
        }
        self.0.iter().fold(start, |batch, augmentation| augmentation.apply(&batch, draws))
    }

    /// Returns the place of an augmentation that does not fit samples of this shape, and the reason.
    pub fn refuses(&self, shape: Shape) -> Option<(usize, String)> {
        self.0.iter().enumerate().find_map(|(place, one)| Some((place, one.refuses(shape)?)))
    }
}

/// Returns an error where `shape` is not an image.
fn images_only(shape: Shape) -> Option<String> {
    match shape {
        Shape::Image { .. } => None,
        Shape::Vector { .. } => Some(format!("is for images, but a sample has {shape}")),
    }
}

/// Returns an error where `shape` is not a vector.
fn vectors_only(shape: Shape) -> Option<String> {
    match shape {
        Shape::Vector { .. } => None,
        Shape::Image { .. } => Some(format!("is for vectors, but a sample is a {shape} image")),
    }
}

/// Draws one uniform number in `low..high` per sample, as `[B, 1, 1, 1]` or `[B, 1]` to broadcast over
/// `batch`.
fn per_sample(batch: &Tensor, low: f64, high: f64, draws: &mut Draws) -> Tensor {
    let count = batch.size()[0];
    let values: Vec<f32> = (0..count).map(|_| uniform(low, high, draws)).collect();
    let shape: Vec<i64> = (0..batch.dim()).map(|axis| if axis == 0 { count } else { 1 }).collect();
    upload(&Tensor::from_slice(&values).view(shape.as_slice()), batch.device())
}

fn uniform(low: f64, high: f64, draws: &mut Draws) -> f32 {
    (low + (high - low) * draws.random::<f64>()) as f32
}

/// Draws standard normal numbers like `batch`, from libtorch's generator on the batch's device.
fn normal_like(batch: &Tensor, draws: &mut Draws) -> Tensor {
    seeded(draws, || batch.randn_like())
}

/// Draws uniform numbers from 0 to 1 like `batch`, from the same generator.
fn uniform_like(batch: &Tensor, draws: &mut Draws) -> Tensor {
    seeded(draws, || batch.rand_like())
}

/// Seeds libtorch's generator and draws from it. The generator belongs to the whole process, so a lock
/// keeps other threads from drawing between the seed and the draw.
fn seeded<T>(draws: &mut Draws, draw: impl FnOnce() -> T) -> T {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(draws.random::<i64>());
    draw()
}

/// Adds a fault unless `value` lies in `low..=high`.
fn within(faults: &mut Vec<(&'static str, String)>, key: &'static str, value: f64, low: f64, high: f64) {
    if !(low..=high).contains(&value) {
        faults.push((key, format!("{value} is not from {low} to {high}")));
    }
}
