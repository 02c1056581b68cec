//! The contract of an augmentation, and what several of them draw.

use crate::device::upload::upload;
use crate::generator::seeded;
use rand::RngExt;
use sluicebox_core::config::document::Settings;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use sluicebox_core::rng::Draws;
use sluicebox_core::sample::Shape;
use tch::Tensor;

/// One operation on a batch.
///
/// ```
/// use sluicebox_core::rng::{Draws, Randomness, Stage};
/// use sluicebox_core::sample::Shape;
/// use sluicebox_learn::augmentation::api::{Augmentation, images_only, per_sample};
/// use tch::{Device, Kind, Tensor};
///
/// /// Darkens each image by its own factor.
/// struct Dim;
///
/// impl Augmentation for Dim {
///     fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor {
///         batch * per_sample(batch, 0.5, 1.0, draws)
///     }
///     fn refuses(&self, shape: Shape) -> Option<String> {
///         images_only(shape)
///     }
/// }
/// let batch = Tensor::ones([2, 1, 4, 4], (Kind::Float, Device::Cpu));
/// let mut draws = Randomness::new(0, 0).at(0, Stage::WeakView);
/// assert_eq!(Dim.apply(&batch, &mut draws).size(), [2, 1, 4, 4]);
/// assert!(Dim.refuses(Shape::Vector { features: 3 }).is_some());
/// ```
pub trait Augmentation {
    /// Returns a changed copy of `batch`: `[B, C, H, W]` f32 in 0 to 1, or `[B, F]` f32. Same shape.
    fn apply(&self, batch: &Tensor, draws: &mut Draws) -> Tensor;

    /// Returns the reason why the operation does not fit samples of this shape, if it does not.
    fn refuses(&self, shape: Shape) -> Option<String>;

    /// Returns whether the operation keeps pixels within 0 to 1, so that it would spoil images outside.
    fn bounds_pixels(&self) -> bool {
        false
    }
}

/// Makes an augmentation from resolved options.
pub type Build = fn(&Spec) -> Result<Box<dyn Augmentation>>;

/// Builds an augmentation that is its own settings.
pub fn build<T: Augmentation + Settings + 'static>(spec: &Spec) -> Result<Box<dyn Augmentation>> {
    Ok(Box::new(settings::<T>(spec)?))
}

/// Returns an error where `shape` is not an image.
pub fn images_only(shape: Shape) -> Option<String> {
    match shape {
        Shape::Image { .. } => None,
        Shape::Vector { .. } => Some(format!("is for images, but a sample has {shape}")),
    }
}

/// Returns an error where `shape` is not a vector.
pub fn vectors_only(shape: Shape) -> Option<String> {
    match shape {
        Shape::Vector { .. } => None,
        Shape::Image { .. } => Some(format!("is for vectors, but a sample is a {shape} image")),
    }
}

/// Draws one uniform number in `low..high` per sample, as `[B, 1, 1, 1]` or `[B, 1]` to broadcast over
/// `batch`.
pub fn per_sample(batch: &Tensor, low: f64, high: f64, draws: &mut Draws) -> Tensor {
    let count = batch.size()[0];
    let values: Vec<f32> = (0..count).map(|_| uniform(low, high, draws)).collect();
    let shape: Vec<i64> = (0..batch.dim()).map(|axis| if axis == 0 { count } else { 1 }).collect();
    upload(&Tensor::from_slice(&values).view(shape.as_slice()), batch.device())
}

/// Draws a uniform number in `low..high`.
pub fn uniform(low: f64, high: f64, draws: &mut Draws) -> f32 {
    (low + (high - low) * draws.random::<f64>()) as f32
}

/// Draws standard normal numbers like `batch`, from libtorch's generator on the batch's device.
pub fn normal_like(batch: &Tensor, draws: &mut Draws) -> Tensor {
    seeded(draws.random(), || batch.randn_like())
}

/// Draws uniform numbers from 0 to 1 like `batch`, from the same generator.
pub fn uniform_like(batch: &Tensor, draws: &mut Draws) -> Tensor {
    seeded(draws.random(), || batch.rand_like())
}
