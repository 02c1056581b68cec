//! Replay buffer: a bounded set of labelled samples. A corrected label changes its sample's class; a
//! withdrawn one removes its sample. [`crate::replay::draw`] chooses those a step trains on.

use crate::replay::recency::{DriftAlarms, RecencyIndex};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Format, Labelled, Values};
use sluicebox_core::state::{Stateful, decode, encode};
use std::collections::{BTreeMap, HashMap};

/// Replay buffer. Each labelled sample has its own slot.
///
/// ```
/// use sluicebox_core::rng::Randomness;
/// use sluicebox_core::sample::{Dtype, Format, Labelled, Shape, Values};
/// use sluicebox_learn::replay::buffer::{Keep, ReplayBuffer};
///
/// let shape = Shape::Vector { features: 2 };
/// let classes = vec!["ant".into(), "bee".into()];
/// let format = Format { shape, dtype: Dtype::F32, scale: 1.0, classes };
/// let mut buffer = ReplayBuffer::new(&format, 2, Keep::Newest, Randomness::new(0, 0));
/// buffer.add(&Labelled { values: Values::F32(vec![0.0, 1.0, 2.0, 3.0]), classes: vec![0, 1] });
/// buffer.learn(7, &Values::F32(vec![4.0, 5.0]), 0, 1); // evicts the oldest
/// assert_eq!(buffer.len(), 2);
/// assert!(buffer.correct(7, 0) && buffer.forget(7) && !buffer.forget(7));
/// ```
pub struct ReplayBuffer {
    pub(super) format: Format,
    capacity: usize,
    keep: Keep,
    randomness: Randomness,
    pub(super) held: Held,
    /// Slot of each sample that has an id.
    by_id: HashMap<u64, usize>,
    pub(super) by_age: RecencyIndex,
}

/// Retention policy of a full buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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

/// Checkpointed state, by slot.
#[derive(Serialize, Deserialize)]
pub(super) struct Held {
    /// `[count, …]` sample values.
    values: Values,
    pub(super) classes: Vec<i64>,
    /// Sample ids; `None` for samples that the source delivered already labelled.
    ids: Vec<Option<u64>>,
    /// The samples' keys: number of samples that came before.
    pub(super) ages: Vec<u64>,
    /// Key of the next sample.
    next: u64,
}

impl ReplayBuffer {
    /// Creates an empty replay buffer of at most `capacity` samples.
    pub fn new(format: &Format, capacity: usize, keep: Keep, randomness: Randomness) -> Self {
        let (classes, ids, ages) = (Vec::new(), Vec::new(), Vec::new());
        let held = Held { values: Values::none(format.dtype), classes, ids, ages, next: 0 };
        let (by_id, by_age) = (HashMap::new(), RecencyIndex::default());
        Self { format: format.clone(), capacity, keep, randomness, held, by_id, by_age }
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.held.classes.len()
    }

    /// Returns whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of samples of each class.
    pub fn class_counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.format.classes.len()];
        self.held.classes.iter().for_each(|class| counts[*class as usize] += 1);
        counts
    }

    /// Returns whether there are samples of two classes at least.
    pub fn has_several_classes(&self) -> bool {
        self.held.classes.first().is_some_and(|first| self.held.classes.iter().any(|class| class != first))
    }

    /// Adds samples that the source delivered already labelled.
    pub fn add(&mut self, new: &Labelled) {
        let length = self.format.shape.len();
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

    /// Multiplies the replay weights of all present samples by `keeps`, on a drift alarm.
    pub fn decay_weights(&mut self, keeps: f64) {
        self.by_age.record_alarm(self.held.next, keeps);
    }

    /// Returns every sample, oldest first: those before the first alarm, those between it and the
    /// second, and so on, each group with the factor of the alarm that follows it.
    pub fn between_alarms(&self) -> Vec<(Labelled, f64)> {
        let part = |(slots, keeps): (Vec<usize>, f64)| {
            let values = self.values_of(&slots);
            let classes = slots.into_iter().map(|slot| self.held.classes[slot]).collect();
            (Labelled { values, classes }, keeps)
        };
        self.by_age.between_alarms().into_iter().map(part).collect()
    }

    /// Returns the values of the samples in `slots`.
    pub(super) fn values_of(&self, slots: &[usize]) -> Values {
        let length = self.format.shape.len();
        let mut values = Values::none(self.held.values.dtype());
        for slot in slots {
            values.extend_from(&self.held.values, slot * length..(slot + 1) * length);
        }
        values
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
        held.values.extend_from(values, at..at + self.format.shape.len());
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
        held.values.swap_remove(slot, self.format.shape.len());
        held.classes.swap_remove(slot);
        let id = held.ids.swap_remove(slot);
        id.and_then(|id| self.by_id.remove(&id));
        self.by_age.remove(held.ages.swap_remove(slot));
        if let (Some(id), Some(age)) = (self.held.ids.get(slot), self.held.ages.get(slot)) {
            id.and_then(|id| self.by_id.insert(id, slot));
            self.by_age.moved(*age, slot);
        }
    }
}

/// The state's name in messages.
const WHAT: &str = "the replay buffer";

impl Stateful for ReplayBuffer {
    fn save(&self) -> Result<Vec<u8>> {
        encode(WHAT, &(&self.held, self.by_age.alarms()))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let alarms: DriftAlarms;
        (self.held, alarms) = decode(WHAT, state)?;
        let ids = self.held.ids.iter().enumerate();
        self.by_id = ids.filter_map(|(slot, id)| Some((((*id)?), slot))).collect();
        let ages = self.held.ages.iter().enumerate().map(|(slot, age)| (*age, slot));
        self.by_age = RecencyIndex::new(ages, alarms);
        Ok(())
    }
}
