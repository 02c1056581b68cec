//! Augmentations: batched tensor operations with parameters drawn per sample, on the batch's device.
//! One file per augmentation, one row in [`AUGMENTATIONS`].

mod affine;
pub mod api;
mod block_mask;
mod colour;
mod cutout;
mod flip_crop;
mod jitter;
mod mask;
pub mod mix;
mod noise;
pub mod randaugment;
pub mod splice;

use crate::augmentation::api::{Augmentation, Build, build};
use sluicebox_core::config::registry::{Entry, Registry, Spec, resolve};
use sluicebox_core::error::Result;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::Tensor;

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
