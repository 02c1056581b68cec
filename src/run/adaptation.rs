//! Forgetting rates and prior correction of a job, built and restored.

use crate::job::Job;
use crate::job::effective::Effective;
use sluicebox_core::error::Result;
use sluicebox_core::rng::Randomness;
use sluicebox_core::sample::Format;
use sluicebox_core::state::{Section, Sections, Stateful};
use sluicebox_learn::adapt::correction::PriorCorrection;
use sluicebox_learn::adapt::correction_fit::{CorrectionFit, Settings};
use sluicebox_learn::adapt::forgetting;
use sluicebox_learn::adapt::forgetting::ForgettingMixture;
use sluicebox_learn::adapt::prior::Prior;
use sluicebox_learn::device::Compute;
use sluicebox_learn::replay::buffer::{Keep, ReplayBuffer};
use sluicebox_learn::replay::draw::Replay;
use sluicebox_learn::stages::collate;
use tch::Device;

/// Forgetting rates and prior correction of a job.
pub struct Adaptation {
    /// Forgetting rates, where replay or prior correction needs them.
    pub forgetting: Option<ForgettingMixture>,
    /// Prior correction; none where predictions are the network's probabilities.
    pub correction: Option<CorrectionFit>,
}

impl Adaptation {
    /// Builds the parts as the job asks.
    pub fn new(job: &Job, effective: &Effective, format: &Format, device: Device) -> Self {
        let Effective { replay, prior, blend, late_labels, .. } = *effective;
        let (window, temper) = (job.answer.window, job.answer.temper);
        let (settings, classes) = (Settings { prior, temper, window, blend }, format.classes.len());
        let rates = match (replay, job.memory.pace) {
            (Replay::Recent, Some(pace)) => vec![pace],
            (Replay::Recent, None) => forgetting::default_time_constants(),
            _ => vec![f64::INFINITY],
        };
        let corrects = prior != Prior::None || blend;
        let needed = corrects || replay == Replay::Recent;
        // Labels from `labels.rate` are certain to come, so forgetting rates are trusted at once; labels from
        // outside may never come, so they need evidence first. Without late labels there is nothing to wait
        // for.
        let evidence = if late_labels && job.labels.rate == 0.0 { forgetting::EVIDENCE } else { 0 };
        let blended = if blend { window } else { 0 };
        Self {
            forgetting: needed
                .then(|| ForgettingMixture::new(rates, format.shape, classes, blended, evidence)),
            correction: corrects.then(|| CorrectionFit::new(settings, classes, device)),
        }
    }

    /// Restores a saved state. Forgetting rates that the saved job did not have, or had with other time
    /// constants, are learned again from the saved labelled samples; the correction then starts anew.
    pub fn load_from(&mut self, sections: &Sections, format: &Format) -> Result<()> {
        let Some(forgetting) = &mut self.forgetting else { return Ok(()) };
        if let Some(held) = sections.get(Section::Pace)
            && forgetting.load_matching(held)?
        {
            let held = self.correction.as_mut().zip(sections.get(Section::Answers));
            return held.map_or(Ok(()), |(correction, held)| correction.load(held));
        }
        let mut memory = ReplayBuffer::new(format, usize::MAX, Keep::Newest, Randomness::new(0, 0));
        memory.load(sections.require(Section::Memory)?)?;
        if !memory.is_empty() {
            forgetting.refit(&collate::inputs(&memory, format));
        }
        Ok(())
    }

    /// Returns the prior correction for the present stream; none where predictions are the network's
    /// probabilities.
    pub fn present(&self, compute: Compute) -> Option<PriorCorrection> {
        let state = self.forgetting.as_ref()?.adapt_state()?;
        self.correction.as_ref()?.correction(state.uploaded(compute))
    }
}
