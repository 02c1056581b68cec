//! What a checkpoint holds of the student.

use crate::messages::Weights;
use crate::model::layout::Slot;
use crate::optimiser;
use crate::stages::student::Student;
use crate::weights::Replica;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::{Section, Sections, Stateful, decode, encode};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Owner of the sections, in messages.
const OWNER: &str = "the student";

/// The student's section of a snapshot. Tensors are bytes of f32.
#[derive(Serialize, Deserialize)]
struct State {
    step: u64,
    parameters: Bytes,
    buffers: Bytes,
    optimiser: Vec<(bool, Bytes)>,
    regularisers: BTreeMap<String, Bytes>,
    versions: Vec<(u64, Bytes, Bytes)>,
}

type Bytes = serde_bytes::ByteBuf;

impl State {
    /// Returns what is not finite, if anything. Counting buffers are no floats.
    fn not_finite(&self, buffers: &[Slot]) -> Option<&'static str> {
        let floats = buffers.iter().filter(|slot| slot.kind == Kind::Float);
        let places: Vec<_> =
            floats.map(|slot| 4 * slot.offset as usize..4 * (slot.offset + slot.len()) as usize).collect();
        let statistics =
            |bytes: &Bytes| places.iter().all(|place| bytes.get(place.clone()).is_some_and(finite));
        let (mut versions, mut moments) = (self.versions.iter(), self.optimiser.iter());
        match () {
            () if !finite(&self.parameters) => Some("the student's weights"),
            () if !statistics(&self.buffers) => Some("the running statistics"),
            () if !versions.all(|(_, weights, buffers)| finite(weights) && statistics(buffers)) => {
                Some("the teacher's weights")
            }
            () if !moments.all(|(counter, moment)| *counter || finite(moment)) => {
                Some("the optimiser's moments")
            }
            () => None,
        }
    }
}

/// Returns whether all numbers in bytes of f32 are finite.
fn finite(bytes: &[u8]) -> bool {
    bytes.as_chunks::<4>().0.iter().all(|number| f32::from_le_bytes(*number).is_finite())
}

impl Student {
    /// Saves the weights, the running statistics, the optimiser and the teacher's versions. Returns what of them is
    /// not finite, if anything: from such a state no job can go on.
    pub(super) fn save_into(&mut self, sections: &mut Sections) -> Result<Option<&'static str>> {
        let versions = self.versions.iter();
        let state = State {
            step: self.step,
            parameters: bytes(&self.replica.parameters),
            buffers: bytes(&self.replica.buffers),
            versions: versions
                .map(|version| (version.step, bytes(&version.parameters), bytes(&version.buffers)))
                .collect(),
            optimiser: self
                .optimiser
                .state()
                .into_iter()
                .map(|tensor| (tensor.kind() == Kind::Int64, bytes(tensor)))
                .collect(),
            regularisers: self
                .regularisers
                .state()
                .into_iter()
                .map(|(name, tensor)| (name.to_string(), bytes(tensor)))
                .collect(),
        };
        sections.put(Section::Student, encode(OWNER, &state)?);
        if self.idle > 0 {
            sections.put(Section::Empty, encode(OWNER, &self.idle)?);
        }
        if self.updates != self.step - self.idle || self.warmed > 0 {
            sections.put(Section::Updates, encode(OWNER, &(self.updates, self.warmed))?);
        }
        if let Some(anchor) = &self.anchor {
            sections.put(Section::Anchor, anchor.save()?);
        }
        Ok(state.not_finite(&self.model.layout().buffers))
    }

    /// Returns what another worker starts from to train the same weights: the student's sections of a checkpoint.
    pub fn sections(&mut self) -> Result<Sections> {
        let mut sections = Sections::default();
        self.save_into(&mut sections)?;
        Ok(sections)
    }

    /// Returns a hash of the weights, the running statistics and the newest teacher: workers that train the same weights have
    /// the same.
    pub fn fingerprint(&self) -> Result<u64> {
        let newest = self.newest()?;
        let mut hash = Sha256::new();
        for tensor in [&self.replica.parameters, &self.replica.buffers, &newest.parameters] {
            hash.update(bytes(tensor));
        }
        Ok(hash.finalize()[..8].iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
    }

    /// Returns to a saved state.
    pub fn load_from(&mut self, sections: &Sections) -> Result<()> {
        let state: State = decode(OWNER, sections.require(Section::Student)?)?;
        let idle: u64 = sections.get(Section::Empty).map_or(Ok(0), |state| decode(OWNER, state))?;
        if idle > state.step {
            let reason = format!("the state of {OWNER} is damaged: {idle} of {} steps are idle", state.step);
            return Err(Error::Request(reason));
        }
        let one_each = (state.step - idle, 0); // of a job with one update a step
        let (updates, warmed): (u64, u64) =
            sections.get(Section::Updates).map_or(Ok(one_each), |state| decode(OWNER, state))?;
        let fits = |bytes: &Bytes, like: &Tensor| bytes.len() as i64 == 4 * like.numel() as i64;
        if !fits(&state.parameters, &self.replica.parameters) || !fits(&state.buffers, &self.replica.buffers)
        {
            return Err(Error::request("the student's state does not fit the job's model"));
        }
        // A term without saved state was off before: it starts as in a new job.
        for (name, now) in self.regularisers.state() {
            let Some(then) = state.regularisers.get(name) else { continue };
            if !fits(then, now) {
                return Err(Error::Request(format!("the state of regularise.{name} does not fit the job")));
            }
            now.copy_(&floats(then).view_as(now));
        }
        if let (Some(anchor), Some(held)) = (&mut self.anchor, sections.get(Section::Anchor)) {
            anchor.load(held)?;
        }
        let (device, layout) = (self.compute.device, self.model.layout());
        let tensor = |bytes: &Bytes| floats(bytes).to_device(device);
        let (parameters, buffers) = (tensor(&state.parameters), tensor(&state.buffers));
        self.replica = Replica::with(layout, self.compute, parameters, buffers);
        (self.step, self.idle, self.updates, self.warmed) = (state.step, idle, updates, warmed);
        self.versions = state
            .versions
            .iter()
            .map(|(step, parameters, buffers)| Weights {
                step: *step,
                parameters: tensor(parameters),
                buffers: tensor(buffers),
            })
            .collect();
        let saved = state.optimiser.iter().map(|(scalar, bytes)| match scalar {
            true => Tensor::from_data_size(bytes, &[], Kind::Int64),
            false => tensor(bytes),
        });
        tch::no_grad(|| optimiser::restore(&mut *self.optimiser, saved.collect()))
    }
}

/// Copies a tensor's memory to the CPU.
fn bytes(tensor: &Tensor) -> Bytes {
    let tensor = tensor.to_device(tch::Device::Cpu).contiguous();
    let size = tensor.numel() * tensor.kind().elt_size_in_bytes();
    let mut bytes = vec![0; size];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    Bytes::from(bytes)
}

/// Builds a flat f32 tensor from such bytes.
fn floats(bytes: &Bytes) -> Tensor {
    Tensor::from_data_size(bytes, &[bytes.len() as i64 / 4], Kind::Float)
}
