//! What the experts say of a step: on its way from batch to filter, and as it arrives there.

use crate::adapt::thread::{Awaited, Said};
use sluicebox_core::error::Result;
use tch::Tensor;

/// What the experts will say of a step.
#[derive(Debug)]
pub struct Adapting {
    /// The step.
    pub step: u64,
    /// What they say.
    pub said: Awaited,
    /// Samples that have just got their label, for the network to say what it would have answered.
    pub fresh: Option<FreshSamples>,
}

/// Samples that have just got their label, and on which nothing had been trained before.
#[derive(Debug)]
pub struct FreshSamples {
    /// `[N, …]` f32: the model's input.
    pub input: Tensor,
    /// `[N]` class indices.
    pub classes: Vec<i64>,
}

/// What the experts say of a step.
#[derive(Debug)]
pub struct AdaptState {
    /// The step.
    pub step: u64,
    /// What they say.
    pub said: Said,
    /// `[N]` class indices of the samples that have just got their label.
    pub classes: Vec<i64>,
}

impl Adapting {
    /// Waits for the experts; nothing before they know a label.
    ///
    /// # Errors
    /// As [`Awaited::wait`].
    pub fn arrived(self) -> Result<Option<AdaptState>> {
        let Self { step, said, fresh } = self;
        let classes = fresh.map_or(Vec::new(), |fresh| fresh.classes);
        Ok(said.wait()?.map(|said| AdaptState { step, said, classes }))
    }
}
