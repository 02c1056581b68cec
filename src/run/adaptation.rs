//! Builds and restores the parts for replay, forgetting rates and prior correction.

use crate::engine::checkpoint::Saved;
use crate::job;
use crate::job::Job;
use sluicebox_core::error::Result;
use sluicebox_core::rng::Randomness;
use sluicebox_core::sample::Format;
use sluicebox_core::state::{Section, Stateful};
use sluicebox_learn::adapt::correction::PriorCorrection;
use sluicebox_learn::adapt::correction_fit::{CorrectionFit, Settings};
use sluicebox_learn::adapt::forgetting as pace;
use sluicebox_learn::adapt::forgetting::ForgettingMixture;
use sluicebox_learn::adapt::prior::Prior;
use sluicebox_learn::device::Compute;
use sluicebox_learn::replay::buffer::{Keep, ReplayBuffer};
use sluicebox_learn::replay::draw::Replay;
use sluicebox_learn::stages::collate as batcher;
use tch::Device;

/// Replay mode, forgetting rates and prior correction of a job.
pub struct Adaptation {
    /// Which labelled samples a step trains on.
    pub replay: Replay,
    /// Forgetting rates, where replay or prior correction needs them.
    pub pace: Option<ForgettingMixture>,
    /// Prior correction; none where predictions are the network's probabilities.
    pub answering: Option<CorrectionFit>,
}

impl Adaptation {
    /// Builds the parts as the job asks; `labels_come`: labels can come late.
    pub fn new(job: &Job, format: &Format, labels_come: bool, device: Device) -> Self {
        let replay = job.memory.replay.unwrap_or(if labels_come { Replay::Recent } else { Replay::Uniform });
        let prior = job.answer.prior.unwrap_or(if labels_come { Prior::Present } else { Prior::None });
        // Discriminants have their own prior, which may differ from a prior that the job fixes.
        let given = matches!(prior, Prior::Labelled | Prior::Uniform);
        let blend = job.answer.blend.unwrap_or(labels_come && !given);
        let job::Answer { window, temper, .. } = job.answer;
        let (settings, classes) = (Settings { prior, temper, window, blend }, format.classes.len());
        let paces = match (replay, job.memory.pace) {
            (Replay::Recent, Some(pace)) => vec![pace],
            (Replay::Recent, None) => pace::default_time_constants(),
            _ => vec![f64::INFINITY],
        };
        let answers = prior != Prior::None || blend;
        let needed = answers || replay == Replay::Recent;
        // Labels from `labels.rate` are certain to come, so forgetting rates are trusted at once; labels from
        // outside may never come, so they need evidence first. Without late labels there is nothing to wait
        // for.
        let evidence = if labels_come && job.labels.rate == 0.0 { pace::EVIDENCE } else { 0 };
        Self {
            replay,
            pace: needed.then(|| {
                ForgettingMixture::new(paces, format.shape, classes, if blend { window } else { 0 }, evidence)
            }),
            answering: answers.then(|| CorrectionFit::new(settings, classes, device)),
        }
    }

    /// Restores a saved state. Forgetting rates that the saved job did not have, or had with other time
    /// constants, are learned again from the saved labelled samples.
    pub fn restore(&mut self, saved: &Saved, format: &Format) -> Result<()> {
        let Some(pace) = &mut self.pace else { return Ok(()) };
        if let Some(held) = saved.sections.get(Section::Pace)
            && pace.load_matching(held)?
        {
            let held = self.answering.as_mut().zip(saved.sections.get(Section::Answers));
            return held.map_or(Ok(()), |(answering, held)| answering.load(held));
        }
        let mut memory = ReplayBuffer::new(format, usize::MAX, Keep::Newest, Randomness::new(0, 0));
        memory.load(saved.section(Section::Memory)?)?;
        if !memory.is_empty() {
            pace.refit(&batcher::inputs(&memory, format));
        }
        Ok(())
    }

    /// Returns the prior correction for the present stream; none where predictions are the network's
    /// probabilities.
    pub fn told(&self, compute: Compute) -> Option<PriorCorrection> {
        let paced = self.pace.as_ref()?.adapt_state()?;
        self.answering.as_ref()?.correction(paced.uploaded(compute))
    }
}
