//! A source that reads one stream of the write-ahead log, for all sources whose data cannot be read
//! again. Others (a listener or a reading thread) fill the stream.

use crate::decode::Form;
use crate::ingest::IngestContext;
use crate::ingest::{block, given_id};
use crate::source::api::{ReadProgress, Source};
use crate::wal::Reader;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::sample_bytes;
use sluicebox_core::sample::{Format, Label, SampleClass, Samples, Values, values};
use sluicebox_core::sample_id::SampleName;
use sluicebox_core::state::{Stateful, decode, encode};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Bytes that a record of one sample has besides its values, at most.
const RECORD: usize = 128;

/// Position of the stream.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Position {
    /// Sequence number of the record that is being read, or of the next.
    sequence: u64,
    /// Samples of that record that have been read.
    taken: usize,
}

/// State that the filler of a stream shares with its reader.
#[derive(Default)]
pub struct Filler {
    ended: AtomicBool,
    failure: OnceLock<String>,
    dead_letters: AtomicU64,
    reasons: Mutex<Vec<(String, u64)>>,
}

impl Filler {
    /// Marks the end of the stream.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Marks the end of the stream by a failure that ends the job.
    pub fn fail(&self, reason: String) {
        let _ = self.failure.set(reason); // the first reason stays
        self.end();
    }

    /// Runs a thread that fills the stream. If it panics, the stream fails, and neither ends nor waits for
    /// ever.
    pub fn guard(&self, thread: &str, body: impl FnOnce()) {
        // The panic hook has reported the panic.
        if catch_unwind(AssertUnwindSafe(body)).is_err() {
            self.fail(format!("the thread `{thread}` has failed"));
        }
    }

    /// Sets the number of records that could not be decoded so far, and their counts by kind of
    /// reason.
    pub fn set_dead_letters(&self, count: u64, reasons: impl FnOnce() -> Vec<(String, u64)>) {
        if self.dead_letters.swap(count, Ordering::Relaxed) != count {
            *self.reasons.lock() = reasons();
        }
    }
}

/// Starts the filler of the stream.
pub type Start = Box<dyn FnMut(&IngestContext, u16) -> Result<()>>;

/// Record that is being read.
struct Present {
    sequence: u64,
    ids: Vec<u64>,
    /// Names of samples, by index.
    names: Vec<SampleName>,
    values: Values,
    /// Labels that came with samples, by index.
    classes: Vec<SampleClass>,
}

/// A source backed by a log stream.
pub struct Logged {
    format: Format,
    start: Start,
    position: Position,
    reader: Option<Reader>,
    present: Option<Present>,
    stream: Option<(crate::wal::Wal, u16)>,
    filler: Arc<Filler>,
    acknowledges: bool,
    form: Option<Form>,
}

impl Logged {
    /// Creates a source of samples of `format`; `start` starts the filler of its stream.
    pub fn new(format: Format, start: Start) -> Self {
        Self {
            format,
            start,
            position: Position::default(),
            reader: None,
            present: None,
            stream: None,
            filler: Arc::default(),
            acknowledges: true,
            form: None,
        }
    }

    /// Says how samples look in requests.
    pub fn in_form(self, form: Form) -> Self {
        Self { form: Some(form), ..self }
    }

    /// Declares that this process itself fills the stream: `filler` may end or fail, and no feeder
    /// waits for acknowledgements.
    pub fn filled_by(self, filler: Arc<Filler>) -> Self {
        Self { filler, acknowledges: false, ..self }
    }

    /// Returns the position up to which everything is read. A stream that has been silent for long is past the
    /// records of other streams, which may have been trimmed.
    fn reached(&self) -> Position {
        match (&self.present, &self.reader) {
            (Some(present), _) if self.position.taken >= present.ids.len() => {
                Position { sequence: present.sequence + 1, taken: 0 }
            }
            (None, Some(reader)) => Position { sequence: reader.position(), taken: 0 },
            _ => self.position,
        }
    }

    /// Makes sure that a record is being read; returns false if none has arrived yet.
    fn advance(&mut self) -> Result<bool> {
        let size = sample_bytes(&self.format);
        loop {
            if self.present.as_ref().is_some_and(|present| self.position.taken < present.ids.len()) {
                return Ok(true);
            }
            if let Some(Present { sequence, .. }) = self.present.take() {
                self.position = Position { sequence: sequence + 1, taken: 0 };
            }
            let Some((log, stream)) = &self.stream else {
                return Err(Error::Engine("a source was read before it was opened".into()));
            };
            let reader = self.reader.get_or_insert_with(|| log.reader(*stream, self.position.sequence));
            let Some((sequence, payload)) = reader.read()? else { return Ok(false) };
            let block = block(&payload)?;
            let ids = match block.ids.is_empty() {
                true => (0..block.bytes.len() / size).map(|at| given_id(sequence, at)).collect(),
                false => block.ids,
            };
            let values = values(self.format.dtype, &block.bytes);
            if sequence != self.position.sequence {
                self.position = Position { sequence, taken: 0 };
            }
            self.present =
                Some(Present { sequence, ids, names: block.names, values, classes: block.classes });
        }
    }
}

impl Stateful for Logged {
    fn save(&self) -> Result<Vec<u8>> {
        encode("the source", &self.reached())
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.position = decode("the source", state)?;
        (self.reader, self.present) = (None, None);
        Ok(())
    }
}

impl Source for Logged {
    fn format(&self) -> &Format {
        &self.format
    }

    fn knows_classes(&self) -> bool {
        false
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn open(&mut self, live: &IngestContext, stream: u16) -> Result<()> {
        let (log, sample) = (live.ingest.log(), sample_bytes(&self.format));
        if (sample + RECORD) as u64 > log.most_at_once() {
            return Err(Error::request(format!(
                "log.max_bytes is too few for samples of {sample} bytes: a write to the log has at most half \
                 of it, so it must be {} or more",
                2 * (sample + RECORD)
            )));
        }
        self.stream = Some((log.clone(), stream));
        (self.start)(live, stream)
    }

    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        let mut missing = count;
        while missing > 0 {
            let ended = self.filler.ended.load(Ordering::Acquire); // loaded before the records are read
            if !self.advance()? {
                return match (ended, self.filler.failure.get()) {
                    (false, _) => Ok(ReadProgress::NotYet),
                    (true, None) => Ok(ReadProgress::End),
                    (true, Some(reason)) => Err(Error::Request(reason.clone())),
                };
            }
            let Some(Present { ids, names, values, classes, .. }) = &self.present else { continue };
            let from = self.position.taken;
            let to = ids.len().min(from + missing);
            let length = self.format.shape.len();
            let place = |index: usize| names.partition_point(|one| (one.at as usize) < index);
            let before = samples.ids.len();
            let named = names[place(from)..place(to)].iter();
            samples.names.extend(named.map(|one| (before + one.at as usize - from, one.name.clone())));
            samples.ids.extend_from_slice(&ids[from..to]);
            samples.values.extend_from(values, from * length..to * length);
            (from..to).for_each(|_| samples.truth.push(None));
            let place = |index: usize| classes.partition_point(|one| (one.at as usize) < index);
            let label =
                |one: &SampleClass| Some(Label { id: *ids.get(one.at as usize)?, class: Some(one.class) });
            samples.labels.extend(classes[place(from)..place(to)].iter().filter_map(label));
            self.position.taken = to;
            missing -= to - from;
        }
        Ok(ReadProgress::Full)
    }

    fn has_own_ids(&self) -> bool {
        true
    }

    fn acknowledges(&self) -> bool {
        self.acknowledges
    }

    fn form(&self) -> Option<Form> {
        self.form.clone()
    }

    fn log_position(&self) -> Option<u64> {
        Some(self.reached().sequence)
    }

    fn dead_letters(&self) -> u64 {
        self.filler.dead_letters.load(Ordering::Relaxed)
    }

    fn reasons(&self) -> Vec<(String, u64)> {
        self.filler.reasons.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filler_that_panics_fails_the_stream() {
        let filler = Filler::default();
        filler.guard("one", || {});
        assert!(filler.failure.get().is_none() && !filler.ended.load(Ordering::Acquire));
        filler.guard("two", || panic!("on purpose"));
        assert_eq!(filler.failure.get().map(String::as_str), Some("the thread `two` has failed"));
        assert!(filler.ended.load(Ordering::Acquire));
    }
}
