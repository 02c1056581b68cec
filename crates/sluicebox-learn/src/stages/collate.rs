//! The batch stage: uploads plain data to the device, applies late labels, and adds the step's
//! labelled samples from the replay buffer.

use crate::adapt::forgetting::ForgettingMixture;
use crate::adapt::state::{AdaptState, Fresh};
use crate::device::Compute;
use crate::input::{scaled, tensor};
use crate::messages::{Batch, FurtherUpdates, LabelledBatch};
use crate::replay::awaiting_labels::LabelWindow;
use crate::replay::buffer::ReplayBuffer;
use crate::replay::draw::{Choice, Replay};
use crate::stages::unfit::{clear, fit, is_unfit, unfit};
use crate::stages::warm_up::WarmUp;
use sluicebox_core::error::Result;
use sluicebox_core::report::thumbnail::Candidate;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Format, Labelled, Values};
use sluicebox_core::state::{Section, Sections, Stateful};
use sluicebox_core::step::{MicroBatch, StepInfo};
use tch::Tensor;

/// A sample that gets a late label becomes a thumbnail while the step has fewer than this many.
const LABELLED_CANDIDATES: usize = 4;

/// Makes batches; owns the replay buffer and the samples awaiting a label.
pub struct Collate {
    /// Replay buffer of labelled samples.
    pub memory: ReplayBuffer,
    /// Samples awaiting a label, in jobs where labels can come late.
    pub window: Option<LabelWindow>,
    /// Recency weighting, in jobs that learn it.
    pub forgetting: Option<ForgettingMixture>,
    /// Choice of a step's labelled samples.
    pub replay: Replay,
    /// Factor that a drift alarm applies to the replay weights of all earlier labelled samples.
    pub decay: f64,
    /// Whether to collect thumbnails.
    pub shows_thumbnails: bool,
    /// Number of updates per step.
    pub updates: usize,
    /// Further updates on the first labelled samples.
    pub warm_up: WarmUp,
    /// Whether the method learns from unlabelled samples.
    pub learns_unlabelled: bool,
    /// Whether samples came before labels of two classes were known.
    waits: bool,
    labelled: usize,
    format: Format,
    randomness: Randomness,
    compute: Compute,
}

impl Collate {
    /// Creates a batcher that adds `labelled` labelled samples to each micro-batch.
    pub fn new(
        memory: ReplayBuffer,
        window: Option<LabelWindow>,
        labelled: usize,
        format: Format,
        randomness: Randomness,
        compute: Compute,
    ) -> Self {
        let (forgetting, replay) = (None, Replay::Uniform);
        Self {
            memory,
            window,
            forgetting,
            replay,
            decay: 1.0,
            shows_thumbnails: false,
            updates: 1,
            warm_up: WarmUp::new(0),
            learns_unlabelled: true,
            waits: false,
            labelled,
            format,
            randomness,
            compute,
        }
    }

    /// Builds the tensors of a step.
    pub fn batch(&mut self, micro_batch: MicroBatch) -> Result<Batch> {
        let MicroBatch { mut info, labelled, mut values } = micro_batch;
        if info.decay_replay {
            self.memory.decay_weights(self.decay);
            self.forgetting.iter_mut().for_each(|forgetting| forgetting.decay_weights(self.decay));
        }
        if let Some(new) = labelled {
            let (new, without) = fit(new, &self.format);
            info.notes.unfit += without as u64;
            self.memory.add(&new);
            if let Some(forgetting) = self.forgetting.as_mut().filter(|_| !new.classes.is_empty()) {
                let (input, classes) = input(&new, &self.format);
                forgetting.add(&input, &classes);
            }
        }
        let (fresh, changed) = self.apply_labels(&mut info, &values);
        let unfit = unfit(&values, &self.format);
        clear(&mut values, &unfit, self.format.shape.len());
        info.notes.unfit += unfit.len() as u64;
        info.unfit = unfit.into_iter().map(|at| at as i64).collect();
        let foretold = match self.forgetting.as_mut().filter(|_| !fresh.classes.is_empty()) {
            Some(forgetting) => {
                let (input, classes) = input(&fresh, &self.format);
                forgetting.learn(&input, &classes)?
            }
            None => false,
        };
        if let (true, Some(forgetting)) = (changed, &mut self.forgetting) {
            forgetting.refit(&inputs(&self.memory, &self.format));
        }
        if self.shows_thumbnails {
            let candidates = Candidate::some(info.step, &info.ids, &values, &self.format);
            info.notes.candidates.extend(candidates);
        }
        let raw = tensor(&values, self.format.shape);
        let adapt = match &mut self.forgetting {
            Some(forgetting) if forgetting.trusted() && !info.is_empty() => {
                forgetting.track_prior(&scaled(&raw, self.format.scale))
            }
            forgetting => forgetting.as_ref().and_then(ForgettingMixture::adapt_state),
        };
        info.judged = self.memory.has_several_classes() || self.format.classes.len() < 2;
        let (labelled, further) = match info.is_empty() {
            true => (None, None),
            false => {
                self.say_when_judged(info.step, info.judged);
                (
                    self.draw(&values, self.labelled, info.step, Stage::Labelled),
                    self.further(&values, info.step),
                )
            }
        };
        let unlabelled = scaled(&self.compute.upload(&raw), self.format.scale);
        if let Some(snapshot) = &mut info.snapshot {
            self.save_into(&mut snapshot.sections)?;
        }
        info.notes.labels_known = self.memory.len() as u64;
        let adapt = adapt.map(|adapt| self.uploaded(adapt, foretold.then_some(&fresh)));
        Ok(Batch { info, labelled, further, unlabelled, adapt })
    }

    /// Saves the replay buffer, the samples that await a label and the forgetting rates.
    fn save_into(&self, sections: &mut Sections) -> Result<()> {
        sections.put(Section::Memory, self.memory.save()?);
        if let Some(window) = &self.window {
            sections.put(Section::Window, window.save()?);
        }
        if let Some(forgetting) = &self.forgetting {
            sections.put(Section::Pace, forgetting.save()?);
        }
        if self.warm_up.is_on() {
            sections.put(Section::WarmUp, self.warm_up.save()?);
        }
        Ok(())
    }

    /// Restores the replay buffer and the samples that await a label: none of these in a job that took no
    /// labels until now. Forgetting rates are restored before, together with the correction that is built
    /// on them.
    pub fn load_from(&mut self, sections: &Sections) -> Result<()> {
        self.memory.load(sections.require(Section::Memory)?)?;
        match sections.get(Section::WarmUp) {
            Some(held) => self.warm_up.load(held)?,
            None if self.is_ready() => self.warm_up.skip(),
            None => {}
        }
        let window = self.window.as_mut().zip(sections.get(Section::Window));
        window.map_or(Ok(()), |(window, held)| window.load(held))
    }

    /// Says when the student begins to learn from unlabelled samples, where it could not from the first on.
    fn say_when_judged(&mut self, step: u64, judged: bool) {
        if std::mem::replace(&mut self.waits, !judged) && judged && self.learns_unlabelled {
            let known = self.memory.len();
            tracing::info!(
                "the student learns from unlabelled samples from step {step} on: labels of two classes are known \
                 (labelled samples: {known})"
            );
        }
    }

    /// Returns whether there are enough labelled samples for a warm-up.
    fn is_ready(&self) -> bool {
        self.memory.len() >= self.labelled && self.memory.has_several_classes()
    }

    /// Draws the labelled samples of the step's updates besides the first: of a warm-up where it is due, and of those
    /// that every step has.
    fn further(&mut self, values: &Values, step: u64) -> Option<FurtherUpdates> {
        let warm_up = self.warm_up.due(self.is_ready());
        let count = (warm_up + self.updates - 1) * self.labelled;
        let labelled = self.draw(values, count, step, Stage::FurtherLabelled)?;
        Some(FurtherUpdates { labelled, each: self.labelled, warm_up })
    }

    fn draw(&self, values: &Values, count: usize, step: u64, stage: Stage) -> Option<LabelledBatch> {
        let shares = self.forgetting.as_ref().map(ForgettingMixture::shares);
        let from = match (self.replay, &self.forgetting, &shares) {
            (Replay::Recent, Some(forgetting), Some(shares)) if forgetting.trusted() || shares.len() == 1 => {
                Choice::Recent { time_constants: forgetting.time_constants(), shares }
            }
            (Replay::Similar, ..) => Choice::Similar { to: values },
            _ => Choice::Uniform,
        };
        self.memory.draw(count, &from, &mut self.randomness.at(step, stage), self.compute)
    }

    /// Uploads to the device and adds the samples whose label was predicted before it was learned.
    fn uploaded(&self, adapt: AdaptState, fresh: Option<&Labelled>) -> AdaptState {
        let fresh = fresh.map(|fresh| {
            let (input, classes) = input(fresh, &self.format);
            Fresh { input: self.compute.upload(&input), classes: self.compute.upload(&classes) }
        });
        AdaptState { fresh, ..adapt.uploaded(self.compute) }
    }

    /// Applies late labels to the step's own samples and to earlier ones: they become labelled,
    /// change their class or lose their label. Returns the newly labelled samples, and whether
    /// labels of others changed.
    fn apply_labels(&mut self, info: &mut StepInfo, values: &Values) -> (Labelled, bool) {
        let (mut fresh, mut changed) =
            (Labelled { values: Values::none(self.format.dtype), classes: Vec::new() }, false);
        let Some(window) = &mut self.window else { return (fresh, changed) };
        let (length, scale) = (self.format.shape.len(), self.format.scale);
        let fits = |values: &Values, at: usize| !is_unfit(values, at..at + length, scale);
        let mut learned = |values: &Values, at: usize, class: u32| {
            fresh.values.extend_from(values, at..at + length);
            fresh.classes.push(i64::from(class));
        };
        for (at, id) in info.ids.iter().enumerate() {
            if let Some(class) = window.push(*id, values, at * length) {
                if fits(values, at * length) {
                    self.memory.learn(*id, values, at * length, class);
                    learned(values, at * length, class);
                }
                info.labelled_already.push(at as i64);
            }
        }
        for label in &info.labels {
            match (label.class, window.find(label.id)) {
                (None, _) => {
                    changed |= self.memory.forget(label.id);
                    window.expect(label.id, None);
                }
                (Some(class), _) if self.memory.correct(label.id, class) => changed = true,
                (Some(_), Some((values, at))) if !fits(values, at) => {}
                (Some(class), Some((values, at))) => {
                    self.memory.learn(label.id, values, at, class);
                    learned(values, at, class);
                    let candidates = &mut info.notes.candidates;
                    if self.shows_thumbnails && candidates.len() < LABELLED_CANDIDATES {
                        candidates.extend(Candidate::new(label.id, None, values, at, &self.format));
                    }
                }
                (Some(class), None) => window.expect(label.id, Some(class)),
            }
            let own = info.ids.iter().position(|id| *id == label.id);
            if let Some(at) = own {
                let at = at as i64;
                info.labelled_already.retain(|other| *other != at);
                info.labelled_already.extend(label.class.map(|_| at));
            }
        }
        (fresh, changed)
    }
}

/// Returns the arguments of [`ForgettingMixture::refit`].
pub fn inputs(memory: &ReplayBuffer, format: &Format) -> Vec<(Tensor, Tensor, f64)> {
    let parts = memory.between_alarms();
    let tensors = |(samples, decay): &(Labelled, f64)| {
        let (values, classes) = input(samples, format);
        (values, classes, *decay)
    };
    parts.iter().map(tensors).collect()
}

/// Converts labelled samples to tensors on the CPU: values `[N, …]` f32 and classes `[N]` i64.
fn input(samples: &Labelled, format: &Format) -> (Tensor, Tensor) {
    let values = tensor(&samples.values, format.shape);
    (scaled(&values, format.scale), Tensor::from_slice(&samples.classes))
}
