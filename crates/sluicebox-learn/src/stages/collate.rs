//! The batch stage: uploads plain data to the device, applies late labels, and adds the step's
//! labelled samples from the replay buffer.

use crate::adapt::experts::{Experts, Foretold};
use crate::adapt::features::rows;
use crate::adapt::state::{AdaptState, Fresh};
use crate::device::Compute;
use crate::input::{scaled, tensor};
use crate::messages::{Batch, LabelledBatch};
use crate::replay::awaiting_labels::LabelWindow;
use crate::replay::buffer::ReplayBuffer;
use crate::replay::draw::{Choice, Replay};
use sluicebox_core::error::Result;
use sluicebox_core::report::thumbnail::Candidate;
use sluicebox_core::rng::Randomness;
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
    /// Experts, in jobs that have them.
    pub experts: Option<Experts>,
    /// Choice of a step's labelled samples.
    pub replay: Replay,
    /// Fixed pace of replay: age, in labelled samples, at which a sample's weight has fallen to 1/e. By default that of
    /// the experts.
    pub pace: Option<f64>,
    /// Whether the experts have a say in the answers.
    pub blends: bool,
    /// Factor that a drift alarm applies to the replay weights of all earlier labelled samples.
    pub decay: f64,
    /// Whether to collect thumbnails.
    pub shows_thumbnails: bool,
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
        let (experts, replay) = (None, Replay::Uniform);
        Self {
            memory,
            window,
            experts,
            replay,
            pace: None,
            blends: false,
            decay: 1.0,
            shows_thumbnails: false,
            labelled,
            format,
            randomness,
            compute,
        }
    }

    /// Builds the tensors of a step.
    pub fn batch(&mut self, micro_batch: MicroBatch) -> Result<Batch> {
        let MicroBatch { mut info, labelled, values } = micro_batch;
        if info.decay_replay {
            self.memory.decay_weights(self.decay);
            self.experts.iter_mut().for_each(|experts| experts.decay_weights(self.decay));
        }
        if let Some(new) = labelled {
            self.memory.add(&new);
            if let Some(experts) = self.experts.as_mut().filter(|_| !new.classes.is_empty()) {
                experts.add(&rows(&input(&new, &self.format), self.format.shape), &new.classes);
            }
        }
        let raw = tensor(&values, self.format.shape);
        let streamed = self.experts.as_mut().filter(|_| !info.is_empty()).map(|experts| {
            experts.stream(info.step, &info.ids, &rows(&scaled(&raw, self.format.scale), self.format.shape))
        });
        let fresh = self.apply_labels(&mut info, &values);
        let fresh = match self.experts.as_mut().filter(|_| !fresh.ids.is_empty()) {
            Some(experts) => {
                let input = input(&fresh.samples, &self.format);
                let rows = rows(&input, self.format.shape);
                let foretold = experts.learn(info.step, &fresh.ids, &rows, &fresh.samples.classes);
                foretold.map(|foretold| self.fresh(input, &fresh.samples.classes, &foretold))
            }
            None => None,
        };
        if self.shows_thumbnails {
            let candidates = Candidate::some(info.step, &info.ids, &values, &self.format);
            info.notes.candidates.extend(candidates);
        }
        let adapt = self.adapt(&info, streamed.as_deref(), fresh);
        let labelled = match info.is_empty() {
            true => None,
            false => self.draw(&values, info.step),
        };
        let unlabelled = scaled(&self.compute.upload(&raw), self.format.scale);
        if let Some(snapshot) = &mut info.snapshot {
            self.save_into(&mut snapshot.sections)?;
        }
        info.notes.labels_known = self.memory.len() as u64;
        Ok(Batch { info, labelled, unlabelled, adapt })
    }

    /// Saves the replay buffer, the samples that await a label and the experts.
    fn save_into(&self, sections: &mut Sections) -> Result<()> {
        sections.put(Section::Memory, self.memory.save()?);
        if let Some(window) = &self.window {
            sections.put(Section::Window, window.save()?);
        }
        if let Some(experts) = &self.experts {
            sections.put(Section::Experts, experts.save()?);
        }
        Ok(())
    }

    /// Restores the replay buffer and the samples that await a label: none of these in a job that took no
    /// labels until now. The experts are restored before, together with the answers that are built on them.
    pub fn load_from(&mut self, sections: &Sections) -> Result<()> {
        self.memory.load(sections.require(Section::Memory)?)?;
        let window = self.window.as_mut().zip(sections.get(Section::Window));
        window.map_or(Ok(()), |(window, held)| window.load(held))
    }

    fn draw(&self, values: &Values, step: u64) -> Option<LabelledBatch> {
        let (constants, shares) = match (self.pace, &self.experts) {
            (Some(pace), _) => (vec![pace], vec![1.0]),
            (None, Some(experts)) if experts.trusted() => {
                (experts.time_constants().to_vec(), experts.rates())
            }
            (None, _) => (Vec::new(), Vec::new()),
        };
        let from = match self.replay {
            Replay::Recent if !constants.is_empty() => {
                Choice::Recent { time_constants: &constants, shares: &shares }
            }
            Replay::Similar => Choice::Similar { to: values },
            _ => Choice::Uniform,
        };
        self.memory.draw(self.labelled, &from, step, self.randomness, self.compute)
    }

    /// Returns what the experts say of a step whose scaled rows are `streamed`; none before they know a label.
    fn adapt(
        &mut self,
        info: &StepInfo,
        streamed: Option<&[u8]>,
        fresh: Option<Fresh>,
    ) -> Option<AdaptState> {
        let experts = self.experts.as_mut().filter(|experts| experts.knows())?;
        let prior = experts.prior();
        let classes = prior.len() as i64;
        let answers = streamed
            .filter(|_| self.blends)
            .map(|rows| self.compute.upload(&Tensor::from_slice(&experts.answer(rows)).view([-1, classes])));
        let last = info.ends_epoch || info.ends_phase || info.snapshot.is_some();
        Some(AdaptState {
            step: info.step,
            trusted: experts.trusted(),
            prior: self.compute.upload(&Tensor::from_slice(&prior)),
            answers,
            experts: self.blends.then(|| experts.snapshot(info.step, last)),
            fresh,
        })
    }

    fn fresh(&self, input: Tensor, classes: &[i64], foretold: &Foretold) -> Fresh {
        let steps: Vec<i64> = foretold.steps.iter().map(|step| *step as i64).collect();
        let answers = Tensor::from_slice(&foretold.answers).view([classes.len() as i64, -1]);
        let (classes, steps) = (Tensor::from_slice(classes), Tensor::from_slice(&steps));
        Fresh { input, classes, answers, steps }.uploaded(self.compute)
    }

    /// Applies late labels to the step's own samples and to earlier ones: they become labelled,
    /// change their class or lose their label. Returns the newly labelled samples.
    fn apply_labels(&mut self, info: &mut StepInfo, values: &Values) -> Newly {
        let samples = Labelled { values: Values::none(self.format.dtype), classes: Vec::new() };
        let mut fresh = Newly { ids: Vec::new(), samples };
        let Some(window) = &mut self.window else { return fresh };
        let length = self.format.shape.len();
        let mut learned = |id: u64, values: &Values, at: usize, class: u32| {
            fresh.ids.push(id);
            fresh.samples.values.extend_from(values, at..at + length);
            fresh.samples.classes.push(i64::from(class));
        };
        let mut correct = |id: u64, class: Option<u32>| {
            self.experts.iter_mut().for_each(|experts| experts.correct(id, class));
        };
        for (at, id) in info.ids.iter().enumerate() {
            if let Some(class) = window.push(*id, values, at * length) {
                self.memory.learn(*id, values, at * length, class);
                learned(*id, values, at * length, class);
                info.labelled_already.push(at as i64);
            }
        }
        for label in &info.labels {
            match (label.class, window.find(label.id)) {
                (None, _) => {
                    if self.memory.forget(label.id) {
                        correct(label.id, None);
                    }
                    window.expect(label.id, None);
                }
                (Some(class), _) if self.memory.correct(label.id, class) => correct(label.id, Some(class)),
                (Some(class), Some((values, at))) => {
                    self.memory.learn(label.id, values, at, class);
                    learned(label.id, values, at, class);
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
        fresh
    }
}

/// Samples that have just got their label.
struct Newly {
    ids: Vec<u64>,
    samples: Labelled,
}

/// Returns the values `[N, …]` f32 of labelled samples on the CPU.
pub fn input(samples: &Labelled, format: &Format) -> Tensor {
    scaled(&tensor(&samples.values, format.shape), format.scale)
}
