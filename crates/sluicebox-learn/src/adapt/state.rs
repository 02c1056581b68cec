//! What the experts say of a step: on its way from batch to filter, and as it arrives there.

use crate::adapt::experts::Snapshot;
use crate::adapt::thread::{Awaited, Said};
use crate::device::upload::{Part, upload_all};
use sluicebox_core::error::Result;
use std::sync::Arc;
use tch::{Device, Tensor};

/// Answers of the experts for a step, and what labels say of them.
#[derive(Debug)]
pub struct AdaptState {
    /// The step.
    pub step: u64,
    /// Whether enough labels have been foretold to compare the network and the experts.
    pub trusted: bool,
    /// `[C]` f32: class prior of the labels.
    pub prior: Tensor,
    /// `[B, C]` f32: log probabilities that the experts give the step's samples; none where they have no say.
    pub answers: Option<Tensor>,
    /// What the experts answer with outside the dataflow.
    pub experts: Option<Arc<Snapshot>>,
    /// Samples that got their label in this step and on which nothing had been trained before it.
    pub fresh: Option<Fresh>,
}

/// Samples that have just got their label.
#[derive(Debug)]
pub struct Fresh {
    /// `[N]` i64 class indices.
    pub classes: Tensor,
    /// `[N, C]` f32: log probabilities that the experts gave them before they learned the labels.
    pub answers: Tensor,
    /// `[N]` i64: steps in which the samples streamed by.
    pub steps: Tensor,
}

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

/// Samples that have just got their label.
#[derive(Debug)]
pub struct FreshSamples {
    /// `[N, …]` f32: the model's input.
    pub input: Tensor,
    /// `[N]` i64 class indices.
    pub classes: Tensor,
}

impl Adapting {
    /// Waits for the experts, and copies what they say to a device; nothing before they know a label.
    ///
    /// # Errors
    /// As [`Awaited::wait`].
    pub fn arrived(self, device: Device) -> Result<Option<AdaptState>> {
        let Self { step, said, fresh } = self;
        let Some(Said { trusted, prior, answers, foretold, snapshot }) = said.wait()? else {
            return Ok(None);
        };
        let classes = prior.len();
        let rows = |values: &[f32]| [(values.len() / classes) as i64, classes as i64];
        let foretold = foretold.filter(|_| fresh.is_some()).map(|foretold| {
            let steps: Vec<i64> = foretold.steps.iter().map(|step| *step as i64).collect();
            (foretold.answers, steps)
        });
        let (has_answers, answers) = (answers.is_some(), answers.unwrap_or_default());
        let (fresh_answers, steps) = foretold.unwrap_or_default();
        let parts = [
            Part::new(&prior, [classes as i64]),
            Part::new(&answers, rows(&answers)),
            Part::new(&fresh_answers, rows(&fresh_answers)),
            Part::new(&steps, [steps.len() as i64]),
        ];
        let [prior, answers, said, then] = upload_all(parts, device);
        let fresh = fresh.filter(|_| !steps.is_empty());
        let fresh = fresh.map(|fresh| Fresh { classes: fresh.classes, answers: said, steps: then });
        let answers = has_answers.then_some(answers);
        Ok(Some(AdaptState { step, trusted, prior, answers, experts: snapshot, fresh }))
    }
}
