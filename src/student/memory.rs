//! The labelled samples that are known, bounded, and which of them a step trains on. A label
//! that is corrected changes its sample's class; one that is withdrawn takes its sample out.

use crate::data::LabelledBatch;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::randomness::{Randomness, Stage};
use crate::samples::{Dtype, Labelled, Shape, Values, scaled};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use tch::Tensor;

/// Labelled samples, the newest ones where there are too many. Each has a slot of its own.
pub struct Memory {
    shape: Shape,
    scale: f32,
    capacity: usize,
    held: Held,
    /// The slot of each sample whose id is known.
    by_id: HashMap<u64, usize>,
    /// The slots in the order in which their samples came.
    by_age: BTreeMap<u64, usize>,
}

/// What a checkpoint keeps: by slot.
#[derive(Serialize, Deserialize)]
struct Held {
    /// `[count, …]`.
    values: Values,
    classes: Vec<i64>,
    /// None for samples that were labelled before the stream began.
    ids: Vec<Option<u64>>,
    ages: Vec<u64>,
    /// Age of the next sample.
    next: u64,
}

impl Memory {
    /// An empty memory of at most `capacity` samples.
    pub fn new(shape: Shape, dtype: Dtype, scale: f32, capacity: usize) -> Self {
        let (classes, ids, ages) = (Vec::new(), Vec::new(), Vec::new());
        let held = Held { values: Values::none(dtype), classes, ids, ages, next: 0 };
        Self { shape, scale, capacity, held, by_id: HashMap::new(), by_age: BTreeMap::new() }
    }

    /// How many samples are known.
    pub fn len(&self) -> usize {
        self.held.classes.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds samples that were labelled from the beginning.
    pub fn add(&mut self, new: &Labelled) {
        let length = self.shape.len();
        for (at, class) in new.classes.iter().enumerate() {
            self.insert(None, &new.values, at * length, *class);
        }
    }

    /// Adds the sample `id`: the values from `at` on.
    pub fn learn(&mut self, id: u64, values: &Values, at: usize, class: u32) {
        self.forget(id);
        self.insert(Some(id), values, at, i64::from(class));
    }

    /// Changes the class of the sample `id`; false where it is not here.
    pub fn correct(&mut self, id: u64, class: u32) -> bool {
        let Some(slot) = self.by_id.get(&id) else { return false };
        self.held.classes[*slot] = i64::from(class);
        true
    }

    /// Takes the sample `id` out, if it is here.
    pub fn forget(&mut self, id: u64) {
        if let Some(slot) = self.by_id.get(&id) {
            self.remove(*slot);
        }
    }

    fn insert(&mut self, id: Option<u64>, values: &Values, at: usize, class: i64) {
        if self.len() >= self.capacity
            && let Some(oldest) = self.by_age.first_key_value().map(|(_, slot)| *slot)
        {
            self.remove(oldest);
        }
        let (slot, held) = (self.len(), &mut self.held);
        held.values.extend_from(values, at..at + self.shape.len());
        held.classes.push(class);
        held.ids.push(id);
        held.ages.push(held.next);
        self.by_age.insert(held.next, slot);
        held.next += 1;
        id.and_then(|id| self.by_id.insert(id, slot));
    }

    /// Frees a slot; the last one's sample moves there.
    fn remove(&mut self, slot: usize) {
        let held = &mut self.held;
        held.values.swap_remove(slot, self.shape.len());
        held.classes.swap_remove(slot);
        let id = held.ids.swap_remove(slot);
        id.and_then(|id| self.by_id.remove(&id));
        let age = held.ages.swap_remove(slot);
        self.by_age.remove(&age);
        if let (Some(id), Some(age)) = (held.ids.get(slot), held.ages.get(slot)) {
            id.and_then(|id| self.by_id.insert(id, slot));
            self.by_age.insert(*age, slot);
        }
    }

    /// `count` samples for a step: different ones as far as there are enough.
    pub fn draw(
        &self,
        count: usize,
        step: u64,
        randomness: Randomness,
        compute: Compute,
    ) -> Option<LabelledBatch> {
        if self.is_empty() || count == 0 {
            return None;
        }
        let (mut draws, length) = (randomness.at(step, Stage::Labelled), self.shape.len());
        let mut values = Values::none(self.held.values.dtype());
        let (mut classes, mut keys) = (Vec::with_capacity(count), Vec::with_capacity(count));
        while classes.len() < count {
            let part = self.len().min(count - classes.len());
            for slot in rand::seq::index::sample(&mut draws, self.len(), part) {
                values.extend_from(&self.held.values, slot * length..(slot + 1) * length);
                classes.push(self.held.classes[slot]);
                keys.push(self.held.ages[slot]);
            }
        }
        Some(LabelledBatch {
            input: scaled(&compute.upload(&values.tensor(self.shape)), self.scale),
            classes: compute.upload(&Tensor::from_slice(&classes)),
            keys,
        })
    }

    /// The samples: bytes for [`Memory::restore`].
    pub fn snapshot(&self) -> Result<Vec<u8>> {
        bincode::serialize(&self.held).map_err(|error| Error::Engine(error.to_string()))
    }

    /// Goes back to a snapshot.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let damaged = |error| Error::Request(format!("the memory's state is damaged: {error}"));
        self.held = bincode::deserialize(state).map_err(damaged)?;
        let ids = self.held.ids.iter().enumerate();
        self.by_id = ids.filter_map(|(slot, id)| Some((((*id)?), slot))).collect();
        self.by_age = self.held.ages.iter().enumerate().map(|(slot, age)| (*age, slot)).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use tch::Device;

    fn some(range: std::ops::Range<i64>) -> Labelled {
        Labelled {
            values: Values::F32(range.clone().map(|value| value as f32).collect()),
            classes: range.collect(),
        }
    }

    fn memory(capacity: usize) -> Memory {
        Memory::new(Shape::Vector { features: 1 }, Dtype::F32, 1.0, capacity)
    }

    /// Values and classes of a draw, which belong together.
    fn drawn(memory: &Memory, count: usize, step: u64) -> Vec<(i64, i64)> {
        let compute = Compute { device: Device::Cpu, precision: Precision::F32 };
        let batch = memory.draw(count, step, Randomness::new(0, 0), compute).unwrap();
        assert_eq!(batch.input.size(), [count as i64, 1]);
        let values: Vec<f32> = batch.input.view(-1).try_into().unwrap();
        let classes: Vec<i64> = batch.classes.try_into().unwrap();
        values.into_iter().map(|value| value as i64).zip(classes).collect()
    }

    fn all(memory: &Memory) -> Vec<(i64, i64)> {
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
        memory.forget(80);
        memory.forget(81);
        assert_eq!(all(&memory), [(0, 0), (1, 1), (7, 5)]);
        memory.learn(90, &late, 2, 2);
        memory.learn(70, &late, 0, 6); // again: once, and the newest
        assert_eq!(all(&memory), [(0, 0), (1, 1), (7, 6), (9, 2)]);
        memory.learn(91, &late, 1, 3); // full: the oldest goes
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
}
