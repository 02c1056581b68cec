//! The slot in which the student leaves the newest teacher for predictions.

use crate::messages::CorrectedTeacher;
use parking_lot::Mutex;

/// Shared slot with the teacher's newest version; the student writes it.
#[derive(Default)]
pub struct Published(Mutex<Option<CorrectedTeacher>>);

impl Published {
    /// Publishes a version, sharing its memory.
    pub fn publish(&self, newest: &CorrectedTeacher) {
        *self.0.lock() = Some(newest.share());
    }

    /// Returns the number of student updates in the newest version; `None` before the first.
    pub fn step(&self) -> Option<u64> {
        self.0.lock().as_ref().map(|newest| newest.weights.step)
    }

    /// Returns the newest version if its step is not `known`.
    pub fn newer(&self, known: Option<u64>) -> Option<CorrectedTeacher> {
        let newest = self.0.lock();
        newest.as_ref().filter(|newest| Some(newest.weights.step) != known).map(CorrectedTeacher::share)
    }
}
