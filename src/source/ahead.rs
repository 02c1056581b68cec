//! What reports are to test some samples ahead: which teacher, on which step, and how far that is.

use super::blind::Blind;
use crate::data::{Ahead, Probe};
use crate::samples::Samples;
use serde::{Deserialize, Serialize};

/// Says with each step what is to be tested.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lookout {
    blind: Blind,
    /// The step after which a teacher was kept, and the sample from which on it is tested.
    due: Option<(u64, u64)>,
}

impl Lookout {
    /// Takes in a step that begins with sample `position`, after which `done` steps are done.
    pub fn look(&mut self, done: u64, position: u64, samples: &Samples, ends_epoch: bool) -> Ahead {
        let due = self.due.take_if(|(_, at)| position >= *at && !samples.is_empty());
        let probe = due.map(|(of_step, _)| {
            Box::new(Probe { of_step, values: samples.values.clone(), truth: samples.truth.clone() })
        });
        self.blind.add(&samples.truth);
        let shift = if ends_epoch { self.blind.shift() } else { None };
        let keep = self.due.is_none() && shift.is_some();
        if let Some(shift) = shift.filter(|_| keep) {
            self.due = Some((done, position + samples.len() as u64 + shift));
        }
        Ahead { shift, keep, probe }
    }
}
