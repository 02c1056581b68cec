//! Late labels on their way into the stream: those that people send, from the log, and those
//! that are simulated from what a source knows.

use crate::error::Result;
use crate::intake::{LABELS, content};
use crate::log::{Log, Reader};
use crate::randomness::{Randomness, Stage};
use crate::samples::{Label, Samples};
use crate::source::scenario::labels::noisy;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Records of labels that take effect in one step at most.
const RECORDS_A_STEP: u32 = 1024;

/// Where the labels are: in the checkpoint.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Position {
    /// The log's record that comes next.
    sequence: u64,
    /// Simulated labels on their way, each with the number of samples at which it comes.
    simulated: VecDeque<(u64, Label)>,
}

/// Labels in the order in which they take effect.
pub struct LateLabels {
    reader: Option<Reader>,
    position: Position,
    /// Part of the samples that are labelled, and after how many samples.
    rate: f64,
    delay: u64,
    /// Part of them that are wrong, and how many classes there are.
    noise: (f64, u32),
    randomness: Randomness,
}

impl LateLabels {
    /// Labels of a job that simulates a part `rate` after `delay` samples, or none (0).
    pub fn new(rate: f64, delay: u64, randomness: Randomness) -> Self {
        Self { reader: None, position: Position::default(), rate, delay, noise: (0.0, 0), randomness }
    }

    /// The same with a part `noise` of the simulated labels naming another of the `classes`.
    pub fn noisy(self, noise: f64, classes: usize) -> Self {
        Self { noise: (noise, classes as u32), ..self }
    }

    /// Labels come from `log` as well.
    pub fn open(&mut self, log: &Log) {
        self.reader = Some(log.reader(LABELS, self.position.sequence));
    }

    /// Labels in the log that are there now, or exactly `count` records of them. Gives how
    /// many records that were.
    pub fn logged(&mut self, count: Option<u32>, labels: &mut Vec<Label>) -> Result<u32> {
        let Some(reader) = &mut self.reader else { return Ok(0) };
        let mut records = 0;
        while records < count.unwrap_or(RECORDS_A_STEP)
            && let Some((_, payload)) = reader.read()?
        {
            labels.extend(content::<Vec<Label>>(&payload)?);
            records += 1;
        }
        self.position.sequence = reader.position();
        Ok(records)
    }

    /// Goes past records of the log that are no labels.
    pub fn look(&mut self) -> Result<()> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        reader.look()?;
        self.position.sequence = reader.position();
        Ok(())
    }

    /// Simulated labels that are due once `streamed` samples have gone by.
    pub fn due(&mut self, streamed: u64, labels: &mut Vec<Label>) {
        let simulated = &mut self.position.simulated;
        let count = simulated.partition_point(|(at, _)| *at <= streamed);
        labels.extend(simulated.drain(..count).map(|(_, label)| label));
    }

    /// Draws which of the samples, the first of which is number `streamed` of the stream, will
    /// be labelled.
    pub fn simulate(&mut self, streamed: u64, samples: &Samples) {
        if self.rate == 0.0 {
            return;
        }
        for (at, (id, class)) in (streamed..).zip(samples.ids.iter().zip(samples.truth.reveal())) {
            let mut draws = self.randomness.at(at, Stage::LateLabel);
            let chosen = draws.random::<f64>() < self.rate;
            if let (true, Ok(class)) = (chosen, u32::try_from(*class)) {
                let class = noisy(class, self.noise.1, self.noise.0, &mut draws);
                let label = Label { id: *id, class: Some(class) };
                self.position.simulated.push_back((at + 1 + self.delay, label));
            }
        }
    }

    /// Where they are.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Goes back to a position.
    pub fn restore(&mut self, position: Position) {
        self.position = position;
    }

    /// The first record of the log that is still to be read.
    pub fn log_position(&self) -> Option<u64> {
        self.reader.as_ref().map(|_| self.position.sequence)
    }
}
