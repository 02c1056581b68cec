//! Schedule of the near-future test: which teacher to keep, and which later samples to test it on.

use crate::microbatch::blind_classifier::BlindClassifier;
use serde::{Deserialize, Serialize};
use sluicebox_core::sample::Samples;
use sluicebox_core::step_notes::{NearFutureTest, Probe};

/// Decides at each step whether to keep a teacher and whether to test the kept one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NearFuture {
    blind: BlindClassifier,
    /// Step after which a teacher was kept, and the stream position from which it is tested.
    due: Option<(u64, u64)>,
}

impl NearFuture {
    /// Returns the tests of a step that begins at stream position `position`; `done` steps are done
    /// after it.
    pub fn look(&mut self, done: u64, position: u64, samples: &Samples, ends_epoch: bool) -> NearFutureTest {
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
        NearFutureTest { shift, keep, probe }
    }
}
