//! The batch stage: uploads plain data to the device, applies late labels, and adds the step's
//! labelled samples from the replay buffer.

use crate::adapt::features::rows;
use crate::adapt::state::{Adapting, FreshSamples};
use crate::adapt::thread::{ExpertsThread, Turn};
use crate::class_weights::ClassWeights;
use crate::device::Compute;
use crate::device::upload::upload_all;
use crate::input::{part, scaled, tensor};
use crate::messages::{Batch, FurtherUpdates, LabelledBatch};
use crate::replay::awaiting_labels::LabelWindow;
use crate::replay::buffer::ReplayBuffer;
use crate::replay::draw::{Choice, Replay};
use crate::stages::unfit::{Fitness, clear};
use crate::stages::warm_up::WarmUp;
use crate::standardise::{Scale, Standardise, standardised};
use sluicebox_core::error::Result;
use sluicebox_core::report::thumbnail::Candidate;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Format, Labelled, Values};
use sluicebox_core::sample_id::SampleId;
use sluicebox_core::state::{Section, Sections, Stateful};
use sluicebox_core::step::{MicroBatch, StepInfo};
use std::collections::{HashMap, HashSet};
use tch::{Device, Tensor};

/// A sample that gets a late label becomes a thumbnail while the step has fewer than this many.
const LABELLED_CANDIDATES: usize = 4;

/// Makes batches; owns the replay buffer and the samples awaiting a label.
pub struct Collate {
    /// Replay buffer of labelled samples.
    pub memory: ReplayBuffer,
    /// Samples awaiting a label, in jobs where labels can come late.
    pub window: Option<LabelWindow>,
    /// Experts, in jobs that have them.
    pub experts: Option<ExpertsThread>,
    /// Mean and deviation of the stream, in jobs that standardise their samples.
    pub standardise: Option<Standardise>,
    /// Choice of a step's labelled samples.
    pub replay: Replay,
    /// Fixed pace of replay: age, in labelled samples, at which a sample's weight has fallen to 1/e. By default that of
    /// the experts.
    pub pace: Option<f64>,
    /// Whether the experts have a say in the answers.
    pub blends: bool,
    /// Whether the answers are published after each step, for predictions outside the dataflow.
    pub published: bool,
    /// Factor that a drift alarm applies to the replay weights of all earlier labelled samples.
    pub decay: f64,
    /// Weights of the classes in the labelled loss.
    pub class_weights: ClassWeights,
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
        let (experts, replay) = (None, Replay::Uniform);
        Self {
            memory,
            window,
            experts,
            standardise: None,
            replay,
            pace: None,
            blends: false,
            published: false,
            decay: 1.0,
            class_weights: ClassWeights::None,
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
        let shares = self.replay_shares()?;
        let mut turn =
            Turn { step: info.step, blends: self.blends, published: self.published, ..Turn::default() };
        if info.decay_replay {
            self.memory.decay_weights(self.decay);
            turn.keeps = Some(self.decay);
        }
        if let Some(new) = labelled {
            self.standardise.iter_mut().for_each(|standardise| standardise.begin(&new));
            let (new, without) = self.fitness().fit(new);
            info.notes.unfit += without as u64;
            self.memory.add(&new);
            if self.experts.is_some() && !new.classes.is_empty() {
                turn.labelled = Some((rows(&input(&new, &self.format), self.format.shape), new.classes));
            }
        }
        let fresh = self.apply_labels(&mut info, &values, &mut turn.corrected);
        let unfit = self.fitness().unfit(&values);
        clear(&mut values, &unfit, self.format.shape.len());
        info.notes.unfit += unfit.len() as u64;
        info.unfit = unfit.into_iter().map(|at| at as i64).collect();
        self.standardise.iter_mut().for_each(|standardise| standardise.add(&values, &info.unfit));
        let scale = self.standardise.as_ref().map(|standardise| standardise.scale(self.compute.device));
        let raw = tensor(&values, self.format.shape);
        let adapt = self.hand_on(turn, &mut info, &raw, fresh, scale.as_ref())?;
        if self.shows_thumbnails {
            let candidates =
                Candidate::some(info.step, info.ids.len(), |at| info.id(at), &values, &self.format);
            info.notes.candidates.extend(candidates);
        }
        info.judged = self.memory.has_several_classes() || self.format.classes.len() < 2;
        let (labelled, further) = match info.is_empty() {
            true => (None, None),
            false => {
                self.say_when_judged(info.step, info.judged);
                (
                    self.draw(&values, &shares, scale.as_ref(), self.labelled, info.step, Stage::Labelled),
                    self.further(&values, &shares, scale.as_ref(), info.step),
                )
            }
        };
        let [unlabelled] = upload_all([part(&values, self.format.shape)], self.compute.device);
        let unlabelled = standardised(scaled(&unlabelled, self.format.scale), scale.as_ref());
        if let Some(snapshot) = &mut info.snapshot {
            self.save_into(&mut snapshot.sections)?;
        }
        info.notes.labels_known = self.memory.len() as u64;
        Ok(Batch { info, labelled, further, unlabelled, scale, adapt })
    }

    /// Saves the replay buffer, the samples that await a label and the statistics of the input.
    fn save_into(&self, sections: &mut Sections) -> Result<()> {
        if let Some(standardise) = &self.standardise {
            sections.put(Section::Standardise, standardise.save()?);
        }
        sections.put(Section::Memory, self.memory.save()?);
        if let Some(window) = &self.window {
            sections.put(Section::Window, window.save()?);
        }
        if self.warm_up.is_on() {
            sections.put(Section::WarmUp, self.warm_up.save()?);
        }
        Ok(())
    }

    /// Restores the replay buffer and the samples that await a label: none of these in a job that took no
    /// labels until now. The experts and the statistics of the input are restored before.
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

    fn fitness(&self) -> Fitness<'_> {
        Fitness { format: &self.format, standardise: self.standardise.as_ref() }
    }

    /// Returns whether there are enough labelled samples for a warm-up.
    fn is_ready(&self) -> bool {
        self.memory.len() >= self.labelled && self.memory.has_several_classes()
    }

    /// Draws the labelled samples of the step's updates besides the first: of a warm-up where it is due, and of those
    /// that every step has.
    fn further(
        &mut self,
        values: &Values,
        shares: &Shares,
        scale: Option<&Scale>,
        step: u64,
    ) -> Option<FurtherUpdates> {
        let warm_up = self.warm_up.due(self.is_ready());
        let count = (warm_up + self.updates - 1) * self.labelled;
        let labelled = self.draw(values, shares, scale, count, step, Stage::FurtherLabelled)?;
        Some(FurtherUpdates { labelled, each: self.labelled, warm_up })
    }

    fn draw(
        &self,
        values: &Values,
        shares: &Shares,
        scale: Option<&Scale>,
        count: usize,
        step: u64,
        stage: Stage,
    ) -> Option<LabelledBatch> {
        let Shares { time_constants, shares } = shares;
        let standardise = self.standardise.as_ref().filter(|_| self.replay == Replay::Similar);
        let on_host = standardise.map(|standardise| standardise.scale(Device::Cpu));
        let from = match self.replay {
            Replay::Recent if !time_constants.is_empty() => Choice::Recent { time_constants, shares },
            Replay::Similar => Choice::Similar { to: values, scale: on_host.as_ref() },
            _ => Choice::Uniform,
        };
        let drawn = self.memory.draw(count, &from, &mut self.randomness.at(step, stage), self.compute)?;
        let class_weights = self.class_weights.of(|| self.memory.class_counts());
        let class_weights = class_weights.map(|weights| self.compute.upload(&Tensor::from_slice(&weights)));
        let input = standardised(drawn.input, scale);
        Some(LabelledBatch { input, class_weights, ..drawn })
    }

    /// Returns by which shares the step's labelled samples are drawn: those of two steps before.
    fn replay_shares(&mut self) -> Result<Shares> {
        let (Replay::Recent, None) = (self.replay, self.pace) else {
            let time_constants = Vec::from_iter(self.pace);
            return Ok(Shares { shares: vec![1.0; time_constants.len()], time_constants });
        };
        let known = self.experts.as_mut().map_or(Ok(None), ExpertsThread::pace)?;
        Ok(known.map_or_else(Shares::default, |(time_constants, shares)| Shares {
            time_constants: time_constants.to_vec(),
            shares: shares.to_vec(),
        }))
    }

    /// Hands the step on to the experts.
    fn hand_on(
        &mut self,
        mut turn: Turn,
        info: &mut StepInfo,
        raw: &Tensor,
        fresh: Newly,
        scale: Option<&Scale>,
    ) -> Result<Option<Adapting>> {
        let (compute, format) = (self.compute, &self.format);
        let Some(experts) = &mut self.experts else { return Ok(None) };
        let features = |samples: &Tensor| rows(samples, format.shape);
        turn.streamed = (!info.is_empty()).then(|| (info.ids.clone(), features(&scaled(raw, format.scale))));
        let fresh = (!fresh.ids.is_empty()).then(|| {
            let (input, classes) = (input(&fresh.samples, format), fresh.samples.classes);
            let [values] = upload_all([part(&fresh.samples.values, format.shape)], compute.device);
            turn.fresh = Some((fresh.ids, features(&input), classes.clone()));
            FreshSamples { input: standardised(scaled(&values, format.scale), scale), classes }
        });
        turn.last = info.ends_epoch || info.ends_phase || info.snapshot.is_some();
        turn.saves = info.snapshot.is_some();
        let (said, state) = experts.take(turn)?;
        if let (Some(snapshot), Some(state)) = (&mut info.snapshot, state) {
            snapshot.sections.put(Section::Experts, state.experts);
            snapshot.sections.put(Section::ReplayShares, state.shares);
        }
        Ok(Some(Adapting { step: info.step, said, fresh }))
    }

    /// Applies late labels to the step's own samples and to earlier ones: they become labelled,
    /// change their class or lose their label. Returns the newly labelled samples.
    fn apply_labels(
        &mut self,
        info: &mut StepInfo,
        values: &Values,
        corrected: &mut Vec<(u64, Option<u32>)>,
    ) -> Newly {
        let samples = Labelled { values: Values::none(self.format.dtype), classes: Vec::new() };
        let mut fresh = Newly { ids: Vec::new(), samples };
        let Some(window) = &mut self.window else { return fresh };
        let length = self.format.shape.len();
        let fitness = Fitness { format: &self.format, standardise: self.standardise.as_ref() };
        let fits = |values: &Values, at: usize| !fitness.is_unfit(values, at..at + length);
        let mut learned = |id: u64, values: &Values, at: usize, class: u32| {
            fresh.ids.push(id);
            fresh.samples.values.extend_from(values, at..at + length);
            fresh.samples.classes.push(i64::from(class));
        };
        let mut correct = |id: u64, class: Option<u32>| corrected.push((id, class));
        let mut sent = std::mem::take(&mut info.sample_labels);
        sent.retain(|label| !window.expects(label.id));
        sent.append(&mut info.labels);
        info.labels = sent;
        for (at, id) in info.ids.iter().enumerate() {
            if let Some(class) = window.push(*id, values, at * length) {
                if fits(values, at * length) {
                    self.memory.learn(*id, values, at * length, class);
                    learned(*id, values, at * length, class);
                }
                info.labelled_already.push(at as i64);
            }
        }
        let own: HashMap<u64, usize> = match info.labels.is_empty() {
            true => HashMap::new(),
            false => info.ids.iter().enumerate().rev().map(|(at, id)| (*id, at)).collect(),
        };
        let mut already: HashSet<i64> = info.labelled_already.iter().copied().collect();
        for label in &info.labels {
            match (label.class, window.find(label.id)) {
                (None, found) => {
                    let is_here = found.is_some();
                    if self.memory.forget(label.id) {
                        correct(label.id, None);
                    }
                    if !is_here {
                        window.expect(label.id, None);
                    }
                }
                (Some(class), _) if self.memory.correct(label.id, class) => correct(label.id, Some(class)),
                (Some(_), Some((values, at))) if !fits(values, at) => {}
                (Some(class), Some((values, at))) => {
                    self.memory.learn(label.id, values, at, class);
                    learned(label.id, values, at, class);
                    let candidates = &mut info.notes.candidates;
                    if self.shows_thumbnails && candidates.len() < LABELLED_CANDIDATES {
                        candidates.extend(Candidate::new(
                            SampleId::of_key(label.id),
                            None,
                            values,
                            at,
                            &self.format,
                        ));
                    }
                }
                (Some(class), None) => window.expect(label.id, Some(class)),
            }
            if let Some(at) = own.get(&label.id) {
                let at = *at as i64;
                if already.remove(&at) {
                    info.labelled_already.retain(|other| *other != at);
                }
                if label.class.is_some() {
                    already.insert(at);
                    info.labelled_already.push(at);
                }
            }
        }
        fresh
    }
}

/// Time constants of replay, and their shares; none: all labelled samples alike.
#[derive(Default)]
struct Shares {
    time_constants: Vec<f64>,
    shares: Vec<f64>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::replay::buffer::Keep;
    use sluicebox_core::sample::{Dtype, Label, Shape};
    use tch::Device;

    fn collate() -> Collate {
        let classes = ["a", "b", "c"].map(String::from).into();
        let shape = Shape::Vector { features: 1 };
        let format = Format { shape, dtype: Dtype::F32, scale: 1.0, classes };
        let randomness = Randomness::new(0, 0);
        let memory = ReplayBuffer::new(&format, 100, Keep::Newest, randomness);
        let window = Some(LabelWindow::new(shape, 100));
        Collate::new(memory, window, 2, format, randomness, Compute::new(Device::Cpu, Precision::F32))
    }

    fn step(
        step: u64,
        ids: &[u64],
        sample_labels: &[(u64, u32)],
        labels: &[(u64, Option<u32>)],
    ) -> MicroBatch {
        let sent = |(id, class): &(u64, u32)| Label { id: *id, class: Some(*class) };
        let late = |(id, class): &(u64, Option<u32>)| Label { id: *id, class: *class };
        let info = StepInfo {
            step,
            ids: ids.to_vec(),
            sample_labels: sample_labels.iter().map(sent).collect(),
            labels: labels.iter().map(late).collect(),
            ..StepInfo::default()
        };
        MicroBatch { info, labelled: None, values: Values::F32(ids.iter().map(|id| *id as f32).collect()) }
    }

    #[test]
    fn a_label_counts_in_the_step_of_its_sample_unless_one_was_sent_by_itself() {
        let mut collate = collate();
        // 7 and 8 are still on their way when somebody corrects 7 and withdraws 8.
        collate.batch(step(0, &[1], &[], &[(7, Some(2)), (8, None)])).unwrap();
        let batch = collate.batch(step(1, &[6, 7, 8, 9], &[(6, 1), (7, 1), (8, 1)], &[])).unwrap();
        let told: Vec<(u64, Option<u32>)> = batch.info.labels.iter().map(|l| (l.id, l.class)).collect();
        assert_eq!(told, [(6, Some(1))]);
        assert_eq!(batch.info.labelled_already, [1, 0]);
        assert_eq!(collate.memory.class_counts(), [0, 1, 1]);
        // A label that comes by itself in the same step is newer.
        let batch =
            collate.batch(step(2, &[10, 11], &[(10, 0), (11, 0)], &[(11, Some(2)), (10, None)])).unwrap();
        assert_eq!(batch.info.labelled_already, [1]);
        assert_eq!(collate.memory.class_counts(), [0, 1, 2]);
    }
}
