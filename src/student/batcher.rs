//! The batch stage: plain data becomes tensors on the device, late labels take effect, and the
//! labelled samples of the step join.

use super::memory::Memory;
use super::window::Window;
use crate::data::{Batch, Chunk, Ticket};
use crate::device::Compute;
use crate::error::Result;
use crate::gallery::Pick;
use crate::randomness::Randomness;
use crate::samples::{Format, Values, scaled};

/// Samples to look at that are picked of those which a step's labels are for.
const LABELLED_PICKS: usize = 4;

/// Makes batches, and owns the labelled samples and those that may become so.
pub struct Batcher {
    /// The labelled samples that are known.
    pub memory: Memory,
    /// Samples that labels may still come for, in jobs where they can.
    pub window: Option<Window>,
    /// Somebody wants to look at samples.
    pub shows: bool,
    labelled: usize,
    format: Format,
    randomness: Randomness,
    compute: Compute,
}

impl Batcher {
    /// Batches of `labelled` labelled samples and whatever a chunk holds.
    pub fn new(
        memory: Memory,
        window: Option<Window>,
        labelled: usize,
        format: Format,
        randomness: Randomness,
        compute: Compute,
    ) -> Self {
        Self { memory, window, shows: false, labelled, format, randomness, compute }
    }

    /// The tensors of a step.
    pub fn batch(&mut self, chunk: Chunk) -> Result<Batch> {
        let Chunk { mut ticket, labelled, values } = chunk;
        if let Some(new) = labelled {
            self.memory.add(&new);
        }
        self.apply_labels(&mut ticket, &values);
        if self.shows {
            ticket.picks.extend(Pick::some(ticket.step, &ticket.ids, &values, &self.format));
        }
        let labelled = match ticket.barrier {
            true => None,
            false => self.memory.draw(self.labelled, ticket.step, self.randomness, self.compute),
        };
        let raw = self.compute.upload(&values.tensor(self.format.shape));
        let unlabelled = scaled(&raw, self.format.scale);
        if let Some(snapshot) = &mut ticket.snapshot {
            snapshot.sections.insert("memory".into(), self.memory.snapshot()?);
            if let Some(window) = &self.window {
                snapshot.sections.insert("window".into(), window.snapshot()?);
            }
        }
        let labels_known = self.memory.len() as u64;
        Ok(Batch { ticket, labelled, labels_known, unlabelled })
    }

    /// What is said of the step's own samples and of earlier ones takes effect: they become
    /// labelled ones, change their class, or are labelled no more.
    fn apply_labels(&mut self, ticket: &mut Ticket, values: &Values) {
        let Some(window) = &mut self.window else { return };
        let length = self.format.shape.len();
        for (at, id) in ticket.ids.iter().enumerate() {
            if let Some(class) = window.push(*id, values, at * length) {
                self.memory.learn(*id, values, at * length, class);
                ticket.labelled_already.push(at as i64);
            }
        }
        for label in &ticket.labels {
            match (label.class, window.find(label.id)) {
                (None, _) => {
                    self.memory.forget(label.id);
                    window.expect(label.id, None);
                }
                (Some(class), _) if self.memory.correct(label.id, class) => {}
                (Some(class), Some((values, at))) => {
                    self.memory.learn(label.id, values, at, class);
                    if self.shows && ticket.picks.len() < LABELLED_PICKS {
                        ticket.picks.extend(Pick::new(label.id, None, values, at, &self.format));
                    }
                }
                (Some(class), None) => window.expect(label.id, Some(class)),
            }
            let own = ticket.ids.iter().position(|id| *id == label.id);
            if let Some(at) = own {
                let at = at as i64;
                ticket.labelled_already.retain(|other| *other != at);
                ticket.labelled_already.extend(label.class.map(|_| at));
            }
        }
    }
}
