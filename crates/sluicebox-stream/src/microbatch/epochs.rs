//! Where epochs end: after a number of steps, and in jobs with a step journal also after a time. What time decided is a
//! record of the journal; the number of steps counts from where the epoch began, which a checkpoint holds.

use crate::microbatch::plan::BatchPlan;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;
use sluicebox_core::state::{Section, Sections, decode, encode};
use std::time::{Duration, Instant};

/// Owner of the section, in messages.
const OWNER: &str = "the epochs";

/// What ends with a step for another reason than its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Ends {
    /// Nothing.
    #[default]
    Nothing,
    /// The stream.
    Stream,
    /// The epoch: its time is over.
    Epoch,
}

impl From<Ends> for u8 {
    fn from(ends: Ends) -> Self {
        match ends {
            Ends::Nothing => 0,
            Ends::Stream => 1,
            Ends::Epoch => 2,
        }
    }
}

impl TryFrom<u8> for Ends {
    type Error = String;

    fn try_from(byte: u8) -> Result<Self, String> {
        [Self::Nothing, Self::Stream, Self::Epoch]
            .into_iter()
            .find(|ends| u8::from(*ends) == byte)
            .ok_or_else(|| format!("{byte} ends nothing"))
    }
}

/// Counts the steps and the time of the current epoch.
pub struct Epochs {
    steps: u64,
    time: Option<Duration>,
    /// First step of the current epoch.
    began: u64,
    /// When that step was cut, or the job resumed within the epoch; none before its first step.
    since: Option<Instant>,
}

impl Epochs {
    /// Counts from `step` on, at which a job begins, or goes on from the sections `saved`.
    pub fn new(plan: &BatchPlan, step: u64, saved: Option<&Sections>) -> Result<Self> {
        let saved = saved.and_then(|sections| sections.get(Section::Epoch));
        let began = match saved.filter(|_| plan.epoch_time.is_some()) {
            Some(section) => decode(OWNER, section)?,
            // Without a limit of time each epoch begins at a multiple of its steps.
            None => step - step % plan.epoch_steps,
        };
        let since = (step > began).then(Instant::now);
        Ok(Self { steps: plan.epoch_steps, time: plan.epoch_time, began, since })
    }

    /// Adds the section that [`Epochs::new`] takes back.
    pub fn save_into(&self, sections: &mut Sections) -> Result<()> {
        if self.time.is_some() {
            sections.put(Section::Epoch, encode(OWNER, &self.began)?);
        }
        Ok(())
    }

    /// Returns whether `step` is within an epoch and not its first step.
    pub fn has_begun(&self, step: u64) -> bool {
        step > self.began
    }

    /// Returns whether an epoch has begun whose time is over.
    pub fn is_overdue(&self) -> bool {
        self.time.zip(self.since).is_some_and(|(time, since)| since.elapsed() >= time)
    }

    /// Decides what ends with the step that is cut now; `over`: the stream does.
    pub fn decide(&self, over: bool) -> Ends {
        match (over, self.is_overdue()) {
            (true, _) => Ends::Stream,
            (false, true) => Ends::Epoch,
            (false, false) => Ends::Nothing,
        }
    }

    /// Counts a step that was cut, after which `done` steps are done. Returns whether the epoch ends with it.
    pub fn count(&mut self, done: u64, ends: Ends) -> bool {
        self.since.get_or_insert_with(Instant::now);
        let over = ends == Ends::Epoch || done - self.began >= self.steps;
        if over {
            (self.began, self.since) = (done, None);
        }
        over || ends == Ends::Stream
    }
}
