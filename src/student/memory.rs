//! The labelled samples that are known, bounded, and which of them a step trains on.

use crate::data::LabelledBatch;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::randomness::{Randomness, Stage};
use crate::samples::{Labelled, Shape, Values, scaled};
use tch::Tensor;

/// Labelled samples, the newest ones where there are too many.
pub struct Memory {
    shape: Shape,
    scale: f32,
    capacity: usize,
    samples: Option<Labelled>,
    /// The samples on the device: `[count, …]` and `[count]` i64.
    uploaded: Option<(Tensor, Tensor)>,
}

impl Memory {
    /// An empty memory of at most `capacity` samples.
    pub fn new(shape: Shape, scale: f32, capacity: usize) -> Self {
        Self { shape, scale, capacity, samples: None, uploaded: None }
    }

    /// How many samples are known.
    pub fn len(&self) -> usize {
        self.samples.as_ref().map_or(0, Labelled::len)
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds samples; the oldest go where there are too many.
    pub fn add(&mut self, new: Labelled) {
        let samples = match self.samples.take() {
            None => new,
            Some(mut old) => {
                old.values.extend_from(&new.values, 0..new.values.len());
                old.classes.extend(new.classes);
                old
            }
        };
        let surplus = samples.len().saturating_sub(self.capacity);
        let mut values = Values::none(samples.values.dtype());
        values.extend_from(&samples.values, surplus * self.shape.len()..samples.values.len());
        self.samples = Some(Labelled { values, classes: samples.classes[surplus..].to_vec() });
        self.uploaded = None;
    }

    /// `count` samples for a step: different ones as far as there are enough.
    pub fn draw(
        &mut self,
        count: usize,
        step: u64,
        randomness: Randomness,
        compute: Compute,
    ) -> Option<LabelledBatch> {
        let samples = self.samples.as_ref().filter(|samples| !samples.is_empty() && count > 0)?;
        let (values, classes) = self.uploaded.get_or_insert_with(|| {
            let values = compute.upload(&samples.values.tensor(self.shape));
            (values, compute.upload(&Tensor::from_slice(&samples.classes)))
        });
        let mut draws = randomness.at(step, Stage::Labelled);
        let mut index = Vec::with_capacity(count);
        while index.len() < count {
            let part = samples.len().min(count - index.len());
            let drawn = rand::seq::index::sample(&mut draws, samples.len(), part);
            index.extend(drawn.into_iter().map(|position| position as i64));
        }
        let index = compute.upload(&Tensor::from_slice(&index));
        Some(LabelledBatch {
            input: scaled(&values.index_select(0, &index), self.scale),
            classes: classes.index_select(0, &index),
        })
    }

    /// The samples: bytes for [`Memory::restore`].
    pub fn snapshot(&self) -> Result<Vec<u8>> {
        bincode::serialize(&self.samples).map_err(|error| Error::Engine(error.to_string()))
    }

    /// Goes back to a snapshot.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let damaged = |error| Error::Request(format!("the memory's state is damaged: {error}"));
        self.samples = bincode::deserialize(state).map_err(damaged)?;
        self.uploaded = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use tch::Device;

    #[test]
    fn the_newest_are_kept_and_draws_differ_within_a_step() {
        let mut memory = Memory::new(Shape::Vector { features: 1 }, 1.0, 5);
        let some = |from: i64, to: i64| Labelled {
            values: Values::F32((from..to).map(|value| value as f32).collect()),
            classes: (from..to).collect(),
        };
        memory.add(some(0, 4));
        memory.add(some(4, 7));
        assert_eq!(memory.len(), 5);
        let compute = Compute { device: Device::Cpu, precision: Precision::F32 };
        let mut drawn = |count, step| -> Vec<i64> {
            let batch = memory.draw(count, step, Randomness::new(0, 0), compute).unwrap();
            assert_eq!(batch.input.size(), [count as i64, 1]);
            assert!(batch.input.view(-1).equal(&batch.classes.to_kind(tch::Kind::Float)));
            batch.classes.try_into().unwrap()
        };
        let mut all = drawn(5, 0);
        assert_eq!(all, drawn(5, 0));
        assert_ne!((drawn(5, 0), drawn(5, 1)), (drawn(5, 1), drawn(5, 2)));
        all.sort();
        assert_eq!(all, [2, 3, 4, 5, 6]);
        assert_eq!(drawn(12, 3).len(), 12);
    }
}
