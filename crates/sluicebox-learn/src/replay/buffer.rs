//! Replay buffer: a bounded set of labelled samples, and the choice of those a step trains on. A
//! corrected label changes its sample's class; a withdrawn one removes its sample.

use crate::device::Compute;
use crate::input::{scaled, tensor};
use crate::loss::unit;
use crate::messages::LabelledBatch;
use crate::replay::recency::{DriftAlarms, RecencyIndex};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::{Draws, Randomness, Stage};
use sluicebox_core::sample::{Format, Labelled, Shape, Values};
use std::collections::{BTreeMap, HashMap};
use tch::Tensor;

/// Replay buffer. Each labelled sample has its own slot.
pub struct ReplayBuffer {
    shape: Shape,
    scale: f32,
    capacity: usize,
    keep: Keep,
    randomness: Randomness,
    held: Held,
    /// Slot of each sample that has an id.
    by_id: HashMap<u64, usize>,
    by_age: RecencyIndex,
}

/// Retention policy of a full buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The newest.
    #[default]
    Newest,
    /// A uniform random subset of all samples so far (Vitter 1985, algorithm R).
    Reservoir,
    /// A class-balanced set: a sample of the most frequent class is evicted (Prabhu et al. 2020,
    /// GDumb, algorithm 1).
    Balanced,
}

/// Choice of a step's labelled samples.
pub enum Choice<'a> {
    /// Uniformly.
    Uniform,
    /// Newer samples more often: a mixture of exponential distributions of the age, counted in
    /// labelled samples.
    Recent {
        /// Time constant (mean age) of each distribution; infinite is uniform.
        paces: &'a [f64],
        /// Weight of each distribution.
        shares: &'a [f64],
    },
    /// Those most similar to these samples of the stream.
    Similar {
        /// `[B, …]` sample values.
        to: &'a Values,
    },
}

/// Checkpointed state, by slot.
#[derive(Serialize, Deserialize)]
struct Held {
    /// `[count, …]` sample values.
    values: Values,
    classes: Vec<i64>,
    /// Sample ids; `None` for samples that the source delivered already labelled.
    ids: Vec<Option<u64>>,
    /// The samples' keys: number of samples that came before.
    ages: Vec<u64>,
    /// Key of the next sample.
    next: u64,
}

impl ReplayBuffer {
    /// Creates an empty replay buffer of at most `capacity` samples.
    pub fn new(format: &Format, capacity: usize, keep: Keep, randomness: Randomness) -> Self {
        let (classes, ids, ages) = (Vec::new(), Vec::new(), Vec::new());
        let held = Held { values: Values::none(format.dtype), classes, ids, ages, next: 0 };
        let (by_id, by_age) = (HashMap::new(), RecencyIndex::default());
        let (shape, scale) = (format.shape, format.scale);
        Self { shape, scale, capacity, keep, randomness, held, by_id, by_age }
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.held.classes.len()
    }

    /// Returns whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds samples that the source delivered already labelled.
    pub fn add(&mut self, new: &Labelled) {
        let length = self.shape.len();
        for (at, class) in new.classes.iter().enumerate() {
            self.insert(None, &new.values, at * length, *class);
        }
    }

    /// Adds the sample `id`, whose values begin at `at`.
    pub fn learn(&mut self, id: u64, values: &Values, at: usize, class: u32) {
        self.forget(id);
        self.insert(Some(id), values, at, i64::from(class));
    }

    /// Changes the class of the sample `id`; returns false if it is not here.
    pub fn correct(&mut self, id: u64, class: u32) -> bool {
        let Some(slot) = self.by_id.get(&id) else { return false };
        self.held.classes[*slot] = i64::from(class);
        true
    }

    /// Removes the sample `id`; returns false if it is not here.
    pub fn forget(&mut self, id: u64) -> bool {
        let Some(slot) = self.by_id.get(&id) else { return false };
        self.remove(*slot);
        true
    }

    /// Handles a drift alarm: multiplies the replay weights of all present samples by `keeps`.
    pub fn alarm(&mut self, keeps: f64) {
        self.by_age.alarm(self.held.next, keeps);
    }

    /// Returns every sample, oldest first: those before the first alarm, those between it and the
    /// second, and so on, each group with the factor of the alarm that follows it.
    pub fn between_alarms(&self) -> Vec<(Labelled, f64)> {
        let length = self.shape.len();
        let part = |(slots, keeps): (Vec<usize>, f64)| {
            let mut values = Values::none(self.held.values.dtype());
            slots.iter().for_each(|slot| {
                values.extend_from(&self.held.values, slot * length..(slot + 1) * length);
            });
            let classes = slots.into_iter().map(|slot| self.held.classes[slot]).collect();
            (Labelled { values, classes }, keeps)
        };
        self.by_age.between_alarms().into_iter().map(part).collect()
    }

    fn insert(&mut self, id: Option<u64>, values: &Values, at: usize, class: i64) {
        let age = self.held.next;
        self.held.next += 1;
        if self.len() >= self.capacity {
            match self.gives_way(age, class) {
                Some(slot) => self.remove(slot),
                None => return,
            }
        }
        let (slot, held) = (self.len(), &mut self.held);
        held.values.extend_from(values, at..at + self.shape.len());
        held.classes.push(class);
        held.ids.push(id);
        held.ages.push(age);
        self.by_age.push(age, slot);
        id.and_then(|id| self.by_id.insert(id, slot));
    }

    /// Returns the slot that a new sample of `age` and `class` takes over; `None` if the new sample
    /// is dropped.
    fn gives_way(&self, age: u64, class: i64) -> Option<usize> {
        let mut draws = self.randomness.at(age, Stage::Memory);
        match self.keep {
            Keep::Newest => self.by_age.oldest(),
            Keep::Reservoir => {
                let slot = draws.random_range(0..=age) as usize;
                (slot < self.len()).then_some(slot)
            }
            Keep::Balanced => {
                let mut counts = BTreeMap::from([(class, 1)]);
                self.held.classes.iter().for_each(|class| *counts.entry(*class).or_insert(0) += 1);
                let most = *counts.iter().max_by_key(|(_, count)| **count)?.0;
                let members = self.held.classes.iter().enumerate().filter(|(_, class)| **class == most);
                let members: Vec<usize> = members.map(|(slot, _)| slot).collect();
                (!members.is_empty()).then(|| members[draws.random_range(0..members.len())])
            }
        }
    }

    /// Frees a slot; the last slot's sample moves there.
    fn remove(&mut self, slot: usize) {
        let held = &mut self.held;
        held.values.swap_remove(slot, self.shape.len());
        held.classes.swap_remove(slot);
        let id = held.ids.swap_remove(slot);
        id.and_then(|id| self.by_id.remove(&id));
        self.by_age.remove(held.ages.swap_remove(slot));
        if let (Some(id), Some(age)) = (self.held.ids.get(slot), self.held.ages.get(slot)) {
            id.and_then(|id| self.by_id.insert(id, slot));
            self.by_age.moved(*age, slot);
        }
    }

    /// Draws `count` samples for a step.
    pub fn draw(
        &self,
        count: usize,
        choice: &Choice,
        step: u64,
        randomness: Randomness,
        compute: Compute,
    ) -> Option<LabelledBatch> {
        if self.is_empty() || count == 0 {
            return None;
        }
        let (mut draws, length) = (randomness.at(step, Stage::Labelled), self.shape.len());
        let slots = match choice {
            Choice::Uniform => self.uniform(count, &mut draws),
            Choice::Recent { paces, shares } => self.by_age.draw(count, paces, shares, &mut draws),
            Choice::Similar { to } => self.similar(count, to, &mut draws),
        };
        let mut values = Values::none(self.held.values.dtype());
        for slot in &slots {
            values.extend_from(&self.held.values, slot * length..(slot + 1) * length);
        }
        let classes: Vec<i64> = slots.iter().map(|slot| self.held.classes[*slot]).collect();
        Some(LabelledBatch {
            input: scaled(&compute.upload(&tensor(&values, self.shape)), self.scale),
            classes: compute.upload(&Tensor::from_slice(&classes)),
            keys: slots.iter().map(|slot| self.held.ages[*slot]).collect(),
        })
    }

    /// Draws without repetition while the buffer has enough samples; after a drift alarm, by weight.
    fn uniform(&self, count: usize, draws: &mut Draws) -> Vec<usize> {
        if !self.by_age.is_even() {
            return self.by_age.draw(count, &[f64::INFINITY], &[1.0], draws);
        }
        let mut slots = Vec::with_capacity(count);
        while slots.len() < count {
            let part = self.len().min(count - slots.len());
            slots.extend(rand::seq::index::sample(draws, self.len(), part));
        }
        slots
    }

    /// Draws four times as many candidates and keeps the `count` most similar to one of the samples
    /// `to` `[B, …]`: replay weighted by similarity to the stream (Csaba et al. 2024, "Label Delay
    /// in Online Continual Learning").
    fn similar(&self, count: usize, to: &Values, draws: &mut Draws) -> Vec<usize> {
        let candidates = self.uniform(4 * count, draws);
        let length = self.shape.len() as i64;
        let mut values = Values::none(self.held.values.dtype());
        for slot in &candidates {
            values.extend_from(&self.held.values, slot * length as usize..(slot + 1) * length as usize);
        }
        let rows = |values: &Values| unit(&tensor(values, self.shape).view([-1, length]));
        if to.is_empty() {
            return candidates[..count].to_vec();
        }
        let likeness = rows(&values).matmul(&rows(to).tr()).amax([1i64].as_slice(), false);
        let best = likeness.topk(count as i64, 0, true, true).1;
        let best: Vec<i64> = Vec::try_from(best).unwrap_or_default();
        best.into_iter().map(|at| candidates[at as usize]).collect()
    }

    /// Serialises the samples for [`ReplayBuffer::restore`].
    pub fn snapshot(&self) -> Result<Vec<u8>> {
        bincode::serialize(&(&self.held, self.by_age.alarms()))
            .map_err(|error| Error::Engine(error.to_string()))
    }

    /// Restores a snapshot.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let damaged = |error| Error::Request(format!("the memory's state is damaged: {error}"));
        let alarms: DriftAlarms;
        (self.held, alarms) = bincode::deserialize(state).map_err(damaged)?;
        let ids = self.held.ids.iter().enumerate();
        self.by_id = ids.filter_map(|(slot, id)| Some((((*id)?), slot))).collect();
        let ages = self.held.ages.iter().enumerate().map(|(slot, age)| (*age, slot));
        self.by_age = RecencyIndex::new(ages, alarms);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use sluicebox_core::sample::Dtype;
    use tch::Device;

    fn some(range: std::ops::Range<i64>) -> Labelled {
        Labelled {
            values: Values::F32(range.clone().map(|value| value as f32).collect()),
            classes: range.collect(),
        }
    }

    fn memory(capacity: usize) -> ReplayBuffer {
        keeping(capacity, Keep::Newest)
    }

    fn keeping(capacity: usize, keep: Keep) -> ReplayBuffer {
        let format = Format {
            shape: Shape::Vector { features: 1 },
            dtype: Dtype::F32,
            scale: 1.0,
            classes: vec!["a".into(), "b".into()],
        };
        ReplayBuffer::new(&format, capacity, keep, Randomness::new(0, 0))
    }

    /// Draws uniformly; returns the value and class of each sample, which are equal unless corrected.
    fn drawn(memory: &ReplayBuffer, count: usize, step: u64) -> Vec<(i64, i64)> {
        chosen(memory, count, &Choice::Uniform, step)
    }

    fn chosen(memory: &ReplayBuffer, count: usize, choice: &Choice, step: u64) -> Vec<(i64, i64)> {
        let compute = Compute { device: Device::Cpu, precision: Precision::F32 };
        let batch = memory.draw(count, choice, step, Randomness::new(0, 0), compute).unwrap();
        assert_eq!(batch.input.size(), [count as i64, 1]);
        let values: Vec<f32> = batch.input.view(-1).try_into().unwrap();
        let classes: Vec<i64> = batch.classes.try_into().unwrap();
        values.into_iter().map(|value| value as i64).zip(classes).collect()
    }

    fn all(memory: &ReplayBuffer) -> Vec<(i64, i64)> {
        let mut all = drawn(memory, memory.len(), 0);
        all.sort();
        all
    }

    #[test]
    fn the_newest_are_kept_and_draws_differ_within_a_step() {
        let mut memory = memory(5);
        memory.add(&some(0..4));
        memory.add(&some(4..7));
        assert_eq!(memory.len(), 5);
        assert_eq!(drawn(&memory, 5, 0), drawn(&memory, 5, 0));
        let pairs = |step| (drawn(&memory, 5, step), drawn(&memory, 5, step + 1));
        assert_ne!(pairs(0), pairs(1));
        assert_eq!(all(&memory), [(2, 2), (3, 3), (4, 4), (5, 5), (6, 6)]);
        assert_eq!(drawn(&memory, 12, 3).len(), 12);
    }

    #[test]
    fn labels_are_learned_corrected_and_withdrawn() {
        let mut memory = memory(4);
        memory.add(&some(0..2));
        let late = Values::F32(vec![7.0, 8.0, 9.0]);
        memory.learn(70, &late, 0, 1);
        memory.learn(80, &late, 1, 1);
        assert_eq!(all(&memory), [(0, 0), (1, 1), (7, 1), (8, 1)]);
        assert!(memory.correct(70, 5));
        assert!(!memory.correct(71, 5));
        assert!(memory.forget(80));
        assert!(!memory.forget(81));
        assert_eq!(all(&memory), [(0, 0), (1, 1), (7, 5)]);
        memory.learn(90, &late, 2, 2);
        memory.learn(70, &late, 0, 6); // learned again: kept once, as the newest
        assert_eq!(all(&memory), [(0, 0), (1, 1), (7, 6), (9, 2)]);
        memory.learn(91, &late, 1, 3); // full: the oldest is evicted
        assert_eq!(all(&memory), [(1, 1), (7, 6), (8, 3), (9, 2)]);
    }

    #[test]
    fn a_restored_memory_is_the_same() {
        let mut first = memory(4);
        first.add(&some(0..3));
        first.learn(70, &Values::F32(vec![7.0]), 0, 1);
        first.forget(70);
        first.learn(71, &Values::F32(vec![8.0]), 0, 2);
        let mut second = memory(4);
        second.restore(&first.snapshot().unwrap()).unwrap();
        for memory in [&mut first, &mut second] {
            memory.learn(72, &Values::F32(vec![9.0]), 0, 3);
            memory.correct(71, 4);
        }
        assert_eq!(drawn(&first, 9, 5), drawn(&second, 9, 5));
        assert_eq!(first.snapshot().unwrap(), second.snapshot().unwrap());
    }

    #[test]
    fn an_alarm_makes_old_samples_rare_in_every_choice_and_outlives_a_restart() {
        let mut first = memory(100);
        first.add(&some(0..50));
        first.alarm(0.0);
        let old = |memory: &ReplayBuffer, choice: &Choice| {
            chosen(memory, 40, choice, 3).iter().filter(|(value, _)| *value < 50).count()
        };
        assert_eq!(old(&first, &Choice::Uniform), 40, "nothing came since");
        first.add(&some(50..60));
        let mut second = memory(100);
        second.restore(&first.snapshot().unwrap()).unwrap();
        let to = Values::F32(vec![5.0, 6.0]);
        for memory in [&first, &second] {
            assert_eq!(old(memory, &Choice::Uniform), 0);
            assert_eq!(old(memory, &Choice::Recent { paces: &[1e6], shares: &[1.0] }), 0);
            assert_eq!(old(memory, &Choice::Similar { to: &to }), 0);
        }
        assert_eq!(first.between_alarms().len(), 2);
    }

    #[test]
    fn what_is_like_the_stream_is_chosen() {
        let mut memory = memory(100);
        memory.add(&Labelled { values: Values::F32(vec![-3.0, -2.0, 2.0, 4.0]), classes: vec![0, 0, 1, 1] });
        let to = Values::F32(vec![5.0, 6.0]);
        let found = chosen(&memory, 4, &Choice::Similar { to: &to }, 0);
        assert!(found.iter().all(|(_, class)| *class == 1), "{found:?}");
        let none = Values::F32(Vec::new());
        assert_eq!(chosen(&memory, 3, &Choice::Similar { to: &none }, 0).len(), 3);
    }

    #[test]
    fn a_reservoir_keeps_each_with_the_same_chance_and_a_balanced_memory_each_class() {
        let mut kept = [0.0; 40];
        for seed in 0..600 {
            let mut memory = keeping(10, Keep::Reservoir);
            memory.randomness = Randomness::new(seed, 0);
            memory.add(&some(0..40));
            assert_eq!(memory.len(), 10);
            all(&memory).iter().for_each(|(value, _)| kept[*value as usize] += 1.0 / 600.0);
        }
        assert!(kept.iter().all(|part| (part - 0.25f64).abs() < 0.08), "{kept:?}");
        let mut memory = keeping(6, Keep::Balanced);
        let classes: Vec<i64> = (0..40).map(|at| i64::from(at % 10 == 0)).collect();
        memory.add(&Labelled { values: Values::F32((0..40u8).map(f32::from).collect()), classes });
        let of_class = |wanted| all(&memory).iter().filter(|(_, class)| *class == wanted).count();
        assert_eq!((of_class(0), of_class(1)), (3, 3));
    }
}

/// Which labelled samples of the replay buffer a step trains on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replay {
    /// Any, with equal probability.
    Uniform,
    /// Newer samples with higher probability.
    Recent,
    /// Those most similar to the step's unlabelled samples.
    Similar,
}
