//! Order of reading: messages as they arrive, with a fair share for each partition in turn, or as
//! recorded by an earlier run. Counts bad messages and lists them in the dead-letter file.

use crate::ingest::{Ingest, Met, Refusal};
use crate::source::api::ReadProgress;
use crate::source::bad_records::{Window, too_many};
use crate::source::dead_letter::{DeadLetters, State as Letters};
use crate::source::kafka::fetch::Fetched;
use crate::source::kafka::message::{Content, Message};
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Label, Samples};
use sluicebox_core::state::{Stateful, decode, encode};
use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;

/// A note in messages.
const NOTE: &str = "the reads of the source in a step";

/// Position of the stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Position {
    /// Next offset of each partition.
    next: BTreeMap<i32, i64>,
    /// Messages read, good and bad.
    messages: u64,
    /// Bad messages among them.
    bad: u64,
    letters: Letters,
}

/// Messages that were read consecutively from one partition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Run {
    partition: i32,
    /// Next offset after the run.
    to: i64,
    /// Number of samples among the messages.
    samples: u32,
}

/// Record of the reads of a step, for the step journal.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    /// First offset of each partition that was new.
    begun: BTreeMap<i32, i64>,
    runs: Vec<Run>,
}

/// Reader of the topic's queues.
pub struct Reading {
    topic: String,
    max_bad: f64,
    position: Position,
    letters: DeadLetters,
    window: Window,
    /// Reads since the last note.
    note: Note,
    /// Recorded runs still to be repeated.
    again: VecDeque<Run>,
    /// Whether the reads since the last note repeated recorded ones.
    noted: bool,
    /// Partition that was read last.
    turn: i32,
    /// Knows the ids of messages that were read, in a job that runs.
    ids: Option<Arc<Ingest>>,
}

impl Reading {
    /// Creates a reader that has read nothing of `topic`.
    pub fn new(topic: String, max_bad: f64, letters: DeadLetters) -> Self {
        let (position, note, again) = Default::default();
        Self {
            topic,
            max_bad,
            position,
            letters,
            window: Window::default(),
            note,
            again,
            noted: false,
            turn: -1,
            ids: None,
        }
    }

    /// Takes a message whose id was read before only if its values are the same, and then once, as `ids` knows.
    pub fn meet_ids_at(&mut self, ids: Arc<Ingest>) {
        self.ids = Some(ids);
    }

    /// Returns the next offset of each partition.
    pub fn next(&self) -> &BTreeMap<i32, i64> {
        &self.position.next
    }

    /// Starts a partition at offset `first`, unless it is known already.
    pub fn meet(&mut self, partition: i32, first: i64) {
        if let Entry::Vacant(unknown) = self.position.next.entry(partition) {
            unknown.insert(first);
            self.note.begun.insert(partition, first);
        }
    }

    /// Appends up to `count` samples that have arrived.
    pub fn read(
        &mut self,
        count: usize,
        fetched: &mut Fetched,
        samples: &mut Samples,
    ) -> Result<ReadProgress> {
        fetched.queues.iter().for_each(|(partition, queue)| self.meet(*partition, queue.first));
        if self.again.is_empty() {
            return self.read_on(count, fetched, samples);
        }
        match self.read_again(count, fetched, samples)? {
            given if given == count => Ok(ReadProgress::Full),
            // The recorded runs are over and yielded nothing: this read belongs to a new step.
            0 if self.again.is_empty() => self.read_on(count, fetched, samples),
            _ => Ok(ReadProgress::NotYet),
        }
    }

    /// Reads arrived messages: a fair share of `missing` samples from each partition in turn.
    fn read_on(
        &mut self,
        mut missing: usize,
        fetched: &mut Fetched,
        samples: &mut Samples,
    ) -> Result<ReadProgress> {
        while missing > 0 {
            let waiting = fetched.queues.iter().filter(|(_, queue)| !queue.is_empty());
            let mut ready: Vec<i32> = waiting.map(|(partition, _)| *partition).collect();
            if ready.is_empty() {
                return Ok(ReadProgress::NotYet);
            }
            let after_last = ready.partition_point(|partition| *partition <= self.turn);
            ready.rotate_left(after_last);
            let share = missing.div_ceil(ready.len());
            for partition in ready {
                let Some(queue) = fetched.queues.get_mut(&partition) else { continue };
                let most = share.min(missing);
                let mut given = 0;
                while given < most
                    && let Some(message) = queue.pop()
                {
                    given += self.take(partition, message, samples)?;
                }
                self.turn = partition;
                self.remember(partition, given);
                missing -= given;
            }
        }
        Ok(ReadProgress::Full)
    }

    fn remember(&mut self, partition: i32, given: usize) {
        let to = self.position.next.get(&partition).copied().unwrap_or_default();
        match self.note.runs.last_mut() {
            Some(last) if last.partition == partition => {
                last.to = to;
                last.samples += given as u32;
            }
            _ => self.note.runs.push(Run { partition, to, samples: given as u32 }),
        }
    }

    /// Repeats recorded runs, up to `count` samples; returns the number of samples. The runs are
    /// over once `again` is empty.
    fn read_again(&mut self, count: usize, fetched: &mut Fetched, samples: &mut Samples) -> Result<usize> {
        let mut given = 0;
        while let Some(run) = self.again.front().copied() {
            if given == count && run.samples > 0 {
                break;
            }
            let next = self.position.next.get(&run.partition).copied().unwrap_or_default();
            let queue = fetched.queues.get_mut(&run.partition);
            match queue.as_ref().and_then(|queue| queue.front()) {
                _ if next >= run.to => self.finish(run)?,
                None => break,
                Some(message) if message.offset >= run.to => self.finish(run)?,
                Some(_) => {
                    let Some(message) = queue.and_then(|queue| queue.pop()) else { break };
                    let one = self.take(run.partition, message, samples)?;
                    given += one;
                    let left = (run.samples as usize).checked_sub(one);
                    let left = left.ok_or_else(|| self.gone(run.partition))? as u32;
                    self.again.iter_mut().take(1).for_each(|run| run.samples = left);
                }
            }
        }
        Ok(given)
    }

    /// Completes a repeated run.
    fn finish(&mut self, run: Run) -> Result<()> {
        if run.samples > 0 {
            return Err(self.gone(run.partition));
        }
        let next = self.position.next.entry(run.partition).or_default();
        *next = run.to.max(*next);
        self.again.pop_front();
        Ok(())
    }

    fn gone(&self, partition: i32) -> Error {
        Error::Engine(format!(
            "topic `{}`: partition {partition} no longer holds the messages that were read before: the \
             step cannot be done again; start anew with --fresh",
            self.topic
        ))
    }

    /// Appends the sample of a message, if it has one. Returns the number of samples, 1 or 0.
    fn take(&mut self, partition: i32, message: Message, samples: &mut Samples) -> Result<usize> {
        self.position.next.insert(partition, message.offset + 1);
        self.position.messages += 1;
        match message.content {
            Content::Sample { id, is_chosen, values, class } => {
                let label = class.map(|class| Label { id: id.key, class: Some(class as u32) });
                let met = self.ids.as_ref().filter(|_| is_chosen).map(|ids| ids.meet(id.key, &values));
                match met.unwrap_or(Met::New) {
                    Met::New => samples.labels.extend(label),
                    Met::Again => {
                        samples.labels.extend(label); // it corrects an earlier one
                        return Ok(0);
                    }
                    Met::WithOtherValues => {
                        let reason = Refusal::IdReused(id).to_string();
                        self.keep_bad(partition, message.offset, &reason, "")?;
                        return Ok(0);
                    }
                }
                samples.push_id(id);
                samples.values.extend_from(&values, 0..values.len());
                samples.truth.push(None);
                return Ok(1);
            }
            Content::Tombstone => {}
            Content::Bad { reason, record } => {
                self.keep_bad(partition, message.offset, &reason, &record)?;
            }
        }
        Ok(0)
    }

    fn keep_bad(&mut self, partition: i32, offset: i64, reason: &str, record: &str) -> Result<()> {
        self.letters.keep_message(&self.topic, partition, offset, reason, record)?;
        self.position.bad += 1;
        self.judge_bad()
    }

    fn judge_bad(&mut self) -> Result<()> {
        match self.window.add(self.position.messages, self.max_bad) {
            None => Ok(()),
            Some(found) => {
                let reason = too_many(found, self.max_bad, &self.letters);
                Err(Error::Request(format!("topic `{}`: {reason}", self.topic)))
            }
        }
    }

    /// Returns the record of the reads since the last note.
    pub fn note(&mut self) -> Result<Vec<u8>> {
        match std::mem::take(&mut self.noted) {
            true => Ok(Vec::new()),
            false => encode(NOTE, &std::mem::take(&mut self.note)),
        }
    }

    /// Prepares to repeat recorded reads. Returns whether a partition begins at another offset than
    /// assumed.
    pub fn replay(&mut self, note: &[u8]) -> Result<bool> {
        let note: Note = decode(NOTE, note)?;
        let mut moved = false;
        for (partition, first) in note.begun {
            self.note.begun.remove(&partition);
            moved |= self.position.next.insert(partition, first) != Some(first);
        }
        self.again.extend(note.runs);
        self.noted = true;
        Ok(moved)
    }

    /// Returns the number of bad messages so far by kind of reason.
    pub fn reasons(&self) -> Vec<(String, u64)> {
        self.letters.state().reasons.clone().into_iter().collect()
    }

    /// Returns the number of bad messages so far.
    pub fn dead_letters(&self) -> u64 {
        self.letters.state().count
    }
}

impl Stateful for Reading {
    fn save(&self) -> Result<Vec<u8>> {
        let position = Position { letters: self.letters.state().clone(), ..self.position.clone() };
        encode("the source", &position)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.position = decode("the source", state)?;
        (self.note, self.again, self.window) = Default::default();
        self.letters.restore(self.position.letters.clone())
    }
}
