//! The teacher's versions that the student hands on: along the feedback edge, and to whoever predicts.

use crate::adapt::correction::PriorCorrection;
use crate::messages::{CorrectedTeacher, Weights};
use crate::published::Published;
use crate::stages::student::Student;
use crate::standardise::Scale;
use sluicebox_core::error::{Error, Result};
use std::sync::Arc;

impl Student {
    /// Publishes the teacher's newest version in `published` after each step from now on, once it has
    /// trained; if it has already, also at once, with prior correction `correction` and the input's `scale`.
    pub fn publish_in(
        &mut self,
        published: Arc<Published>,
        correction: Option<PriorCorrection>,
        scale: Option<Scale>,
    ) {
        if let Some(newest) = self.versions.back().filter(|_| self.has_trained()) {
            published.publish(&CorrectedTeacher { weights: newest.share(), correction, scale });
        }
        self.published = Some(published);
    }

    /// Returns the versions on the feedback loop, each with the step at which the teacher receives it.
    pub fn in_flight(&self) -> Vec<(u64, Weights)> {
        let count = self.versions.len() as u64;
        // The next step is scored with the oldest version; the others follow one by one.
        let arrival = |index: u64| match index {
            0 => self.step,
            _ => self.step + self.settings.lag + index - count,
        };
        (0..count).map(arrival).zip(self.versions.iter().map(Weights::share)).collect()
    }

    pub(super) fn hand_on(&mut self, next: Weights) {
        self.versions.push_back(next);
        while self.versions.len() as u64 > self.settings.lag {
            self.versions.pop_front();
        }
    }

    pub(super) fn newest(&self) -> Result<Weights> {
        let newest = self.versions.back().map(Weights::share);
        newest.ok_or_else(|| Error::Engine("the student has no version of its weights".into()))
    }

    /// Returns whether something was learned.
    pub(super) fn has_trained(&self) -> bool {
        self.step > self.idle
    }
}
