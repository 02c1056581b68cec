//! Augmentations: batched tensor operations with parameters drawn per sample, on the batch's device.
//! One file per augmentation, one row in [`AUGMENTATIONS`].

mod affine;
pub mod api;
pub mod block_mask;
mod colour;
mod cutout;
mod flip_crop;
mod jitter;
mod mask;
pub mod mix;
mod noise;
pub mod randaugment;
pub mod splice;
pub mod turn;

use crate::augmentation::api::{Augmentation, Build, build};
use sluicebox_core::config::registry::{Entry, Registry, Spec};
use sluicebox_core::error::Result;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::Tensor;

/// Every augmentation a job can name.
pub static AUGMENTATIONS: Registry<Build> = Registry {
    what: "augmentation",
    entries: &[
        Entry::new::<flip_crop::FlipCrop>(
            "flip-crop",
            "images: random horizontal flip, and a random shift with reflected borders",
            build::<flip_crop::FlipCrop>,
        ),
        Entry::new::<affine::Affine>(
            "affine",
            "images: random rotation, scale, shear and translation, bilinear",
            affine::build,
        ),
        Entry::new::<colour::Colour>(
            "colour",
            "images: random brightness, contrast and (with three channels) saturation",
            build::<colour::Colour>,
        ),
        Entry::new::<noise::Noise>(
            "noise",
            "images: Gaussian noise whose strength is drawn for each sample",
            build::<noise::Noise>,
        ),
        Entry::new::<cutout::Cutout>(
            "cutout",
            "images: one square filled with a constant (DeVries and Taylor 2017)",
            build::<cutout::Cutout>,
        ),
        Entry::new::<block_mask::BlockMask>(
            "block-mask",
            "images: random blocks of a grid filled with a constant (Hoyer et al. 2023)",
            build::<block_mask::BlockMask>,
        ),
        Entry::new::<randaugment::RandAugment>(
            "randaugment",
            "images: random operations out of 14, as in FixMatch (google) or USB (usb)",
            build::<randaugment::RandAugment>,
        ),
        Entry::new::<jitter::Jitter>(
            "jitter",
            "vectors: Gaussian noise on each feature",
            build::<jitter::Jitter>,
        ),
        Entry::new::<mask::Mask>(
            "mask",
            "vectors: a random fraction of the features set to zero",
            build::<mask::Mask>,
        ),
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

    /// Returns whether it keeps pixels within 0 to 1.
    pub fn bounds_pixels(&self) -> bool {
        self.0.iter().any(|augmentation| augmentation.bounds_pixels())
    }

    /// Returns the place of an augmentation that does not fit samples of this shape, and the reason.
    pub fn refuses(&self, shape: Shape) -> Option<(usize, String)> {
        self.0.iter().enumerate().find_map(|(place, one)| Some((place, one.refuses(shape)?)))
    }
}
