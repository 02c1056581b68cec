//! Late labels on their way into the stream: those that people send, read from the log, and those
//! that are simulated from the true classes of a source.

use crate::ingest::{LABELS, content};
use crate::scenario::labels::noisy;
use crate::wal::{Reader, Wal};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_core::sample::{Label, Samples};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Maximum number of label records that take effect in one step.
const RECORDS_A_STEP: u32 = 1024;

/// Position of the late labels, saved in checkpoints.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Position {
    /// Sequence number of the next log record.
    sequence: u64,
    /// Simulated labels that are not due yet, each with the stream position at which it is.
    simulated: VecDeque<(u64, Label)>,
}

/// Late labels, in the order in which they take effect.
pub struct LateLabels {
    reader: Option<Reader>,
    /// Time since which labels wait in the log, as far as was looked.
    since: Option<Instant>,
    position: Position,
    /// Fraction of samples that get a simulated label, and the delay in samples.
    rate: f64,
    delay: u64,
    /// Fraction of simulated labels that are wrong, and the number of classes.
    noise: (f64, u32),
    randomness: Randomness,
}

impl LateLabels {
    /// Creates the late labels of a job that simulates labels for a fraction `rate` of samples (0:
    /// none), `delay` samples late.
    pub fn new(rate: f64, delay: u64, randomness: Randomness) -> Self {
        Self {
            reader: None,
            since: None,
            position: Position::default(),
            rate,
            delay,
            noise: (0.0, 0),
            randomness,
        }
    }

    /// Makes a fraction `noise` of the simulated labels name another of the `classes`.
    pub fn noisy(self, noise: f64, classes: usize) -> Self {
        Self { noise: (noise, classes as u32), ..self }
    }

    /// Also reads labels from `log`.
    pub fn open(&mut self, log: &Wal) {
        self.reader = Some(log.reader(LABELS, self.position.sequence));
    }

    /// Appends the labels that are in the log now, or those of exactly `count` records. Returns the
    /// number of records read.
    pub fn logged(&mut self, count: Option<u32>, labels: &mut Vec<Label>) -> Result<u32> {
        let Some(reader) = &mut self.reader else { return Ok(0) };
        self.since = None;
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

    /// Returns whether labels in the log are to take effect although no sample has come: they have waited
    /// for `max_wait`, they are as many as a step takes, or the log is `pressed` for room. Skips log records
    /// that are not labels.
    pub fn are_due(&mut self, max_wait: Duration, pressed: impl FnOnce() -> bool) -> Result<bool> {
        let Some(reader) = &mut self.reader else { return Ok(false) };
        reader.look()?;
        self.position.sequence = reader.position();
        let records = reader.ahead();
        if records == 0 {
            return Ok(false);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        Ok(records >= RECORDS_A_STEP as usize || since.elapsed() >= max_wait || pressed())
    }

    /// Appends the simulated labels that are due after `streamed` samples.
    pub fn due(&mut self, streamed: u64, labels: &mut Vec<Label>) {
        let simulated = &mut self.position.simulated;
        let count = simulated.partition_point(|(at, _)| *at <= streamed);
        labels.extend(simulated.drain(..count).map(|(_, label)| label));
    }

    /// Draws which of the samples will get a simulated label; the first sample is number `streamed`
    /// of the stream.
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

    /// Returns the current position.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Restores a saved position.
    pub fn restore(&mut self, position: Position) {
        self.position = position;
    }

    /// Returns the first log record still to be read.
    pub fn log_position(&self) -> Option<u64> {
        self.reader.as_ref().map(|_| self.position.sequence)
    }
}
