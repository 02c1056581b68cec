//! Scale of the input, experts and answers of a job, built and restored.

use crate::job::Job;
use crate::job::effective::Effective;
use sluicebox_core::error::Result;
use sluicebox_core::rng::Randomness;
use sluicebox_core::sample::{Format, Shape};
use sluicebox_core::state::{Section, Sections, Stateful};
use sluicebox_learn::adapt::correction::PriorCorrection;
use sluicebox_learn::adapt::correction_fit::{CorrectionFit, Settings};
use sluicebox_learn::adapt::experts::{EVIDENCE, Experts};
use sluicebox_learn::adapt::features;
use sluicebox_learn::adapt::learned::Kind;
use sluicebox_learn::adapt::prior::Prior;
use sluicebox_learn::adapt::thread::Said;
use sluicebox_learn::replay::buffer::{Keep, ReplayBuffer};
use sluicebox_learn::replay::draw::Replay;
use sluicebox_learn::stages::collate;
use sluicebox_learn::stages::prototype_fit::PrototypeFit;
use sluicebox_learn::standardise::{Scale, Standardise};
use tch::Device;

/// Scale of the input, experts and answers of a job.
pub struct Adaptation {
    /// Mean and deviation of the stream, in jobs that standardise their samples.
    pub standardise: Option<Standardise>,
    /// Experts, where replay or answers need them.
    pub experts: Option<Experts>,
    /// Makes answers; none where they are the network's probabilities.
    pub correction: Option<CorrectionFit>,
    /// Makes prototypes, in jobs that answer by them.
    pub prototypes: Option<PrototypeFit>,
}

impl Adaptation {
    /// Builds the parts as the job asks.
    pub fn new(job: &Job, effective: &Effective, format: &Format) -> Self {
        let Effective { standardise, replay, prior, blend, late_labels, .. } = *effective;
        let (window, temper, shape) = (job.answer.window, job.answer.temper, format.shape);
        let (settings, classes) = (Settings { prior, temper, window, blend, shape }, format.classes.len());
        let paces = replay == Replay::Recent && job.memory.pace.is_none();
        let kinds = match (blend, paces) {
            (true, _) => job.answer.experts.clone().unwrap_or_else(|| kinds(shape)),
            (false, true) => vec![Kind::Discriminants],
            (false, false) => Vec::new(),
        };
        let corrects = prior != Prior::None || blend;
        // Labels from `labels.rate` are certain to come, so experts are trusted at once; labels from outside may never
        // come, so they need evidence first. Without late labels there is nothing to wait for.
        let evidence = if late_labels && job.labels.rate == 0.0 { EVIDENCE } else { 0 };
        let awaiting = if late_labels { job.labels.window } else { 0 };
        let experts = (corrects || paces).then(|| {
            let mut experts = Experts::new(&kinds, features::count(shape), classes, awaiting, evidence);
            experts.recent_prior = prior == Prior::Present;
            experts
        });
        let standardise = (standardise && matches!(shape, Shape::Vector { .. }))
            .then(|| Standardise::new(format, job.input.horizon));
        let prototypes = job.answer.prototypes.map(|settings| PrototypeFit::new(settings, classes, window));
        let correction = corrects.then(|| CorrectionFit::new(settings, classes));
        Self { standardise, experts, correction, prototypes }
    }

    /// Restores a saved state. Experts that the saved job did not have are taught the saved labelled samples; the answers
    /// then start anew.
    pub fn load_from(&mut self, sections: &Sections, format: &Format) -> Result<()> {
        match (&mut self.standardise, sections.get(Section::Standardise)) {
            (Some(standardise), Some(held)) => standardise.load(held)?,
            // The state is of a version that did not standardise: its network knows samples as they are.
            (standardise, _) => *standardise = None,
        }
        if let (Some(prototypes), Some(held)) = (&mut self.prototypes, sections.get(Section::Prototypes)) {
            prototypes.load(held)?;
        }
        let Some(experts) = &mut self.experts else { return Ok(()) };
        if let Some(held) = sections.get(Section::Experts)
            && experts.load_matching(held)?
        {
            return match (&mut self.correction, sections.get(Section::Correction)) {
                (Some(correction), Some(held)) => correction.load(held),
                (Some(_), None) => {
                    tracing::info!(
                        "how much network and experts count begins anew: the state does not say it"
                    );
                    Ok(())
                }
                (None, _) => Ok(()),
            };
        }
        let mut memory = ReplayBuffer::new(format, usize::MAX, Keep::Newest, Randomness::new(0, 0));
        memory.load(sections.require(Section::Memory)?)?;
        for (samples, keeps) in memory.between_alarms() {
            if !samples.classes.is_empty() {
                let input = collate::input(&samples, format);
                experts.add(&features::rows(&input, format.shape), &samples.classes);
            }
            experts.decay_weights(keeps);
        }
        Ok(())
    }

    /// Returns mean and deviation by which samples are standardised now; none where they are taken as they are.
    pub fn scale(&self, device: Device) -> Option<Scale> {
        self.standardise.as_ref().map(|standardise| standardise.scale(device))
    }

    /// Returns how answers are made now; none where they are the network's probabilities.
    pub fn present(&mut self) -> Option<PriorCorrection> {
        let prototypes = self.prototypes.as_ref().and_then(PrototypeFit::made);
        PriorCorrection::beside(self.corrected(), prototypes)
    }

    fn corrected(&mut self) -> Option<PriorCorrection> {
        let experts = self.experts.as_mut().filter(|experts| experts.knows())?;
        let (trusted, prior) = (experts.trusted(), experts.prior());
        let snapshot = Some(experts.snapshot(0, true));
        let said = Said { trusted, prior, answers: None, foretold: None, snapshot };
        self.correction.as_ref()?.correction(&said)
    }
}

/// Returns the kinds of experts that a job has where it names none. On images, features of the input are means over a grid:
/// neighbours and ranks of those say little.
fn kinds(shape: Shape) -> Vec<Kind> {
    match shape {
        Shape::Vector { .. } => Kind::ALL.to_vec(),
        Shape::Image { .. } => vec![Kind::Discriminants],
    }
}
