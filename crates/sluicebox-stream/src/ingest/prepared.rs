//! Blocks of samples on their way into the log: they are checked, samples that were taken in before are left out, and
//! the others become entries.

use crate::decode::{PixelRange, chosen};
use crate::ingest::known_ids::{KnownIds, hash};
use crate::ingest::record::{LABELS, RECORD_SAMPLES, encode_block, given_id, record};
use crate::ingest::refusal::Refusal;
use crate::ingest::saved::Mark;
use crate::wal::Entry;
use parking_lot::Mutex;
use sluicebox_core::sample::{Block, Dtype, Format, Label, SampleClass, sample_bytes, values};
use sluicebox_core::sample_id::{NAMED_IDS, SampleId};
use std::collections::HashMap;

/// Maximum bytes of values per log record, unless one sample alone has more.
const RECORD_BYTES: usize = 1 << 20;

/// Result of taking in a block of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Id of each sample, in order.
    pub ids: Vec<u64>,
    /// Number of samples that had been taken in before: same id and same values.
    pub repeated: usize,
}

/// A checked block that is about to be written.
pub struct Prepared {
    count: usize,
    /// Ids chosen by the feeder, if any.
    ids: Vec<u64>,
    /// Samples that had been taken in before.
    repeated: usize,
    /// Index of the block's first entry, and samples per entry.
    first_entry: usize,
    samples: usize,
}

impl Prepared {
    /// Returns the number of samples to be written.
    pub fn new_samples(&self) -> usize {
        self.count - self.repeated
    }

    /// Returns the number of ids that were added to the known ones.
    pub fn new_ids(&self) -> usize {
        if self.ids.is_empty() { 0 } else { self.new_samples() }
    }

    /// Returns the result, where the first of all entries has sequence number `first`.
    pub fn taken(self, first: u64) -> Taken {
        let sequence = first + self.first_entry as u64;
        let given = |at| given_id(sequence + (at / self.samples) as u64, at % self.samples);
        let ids = if self.ids.is_empty() { (0..self.count).map(given).collect() } else { self.ids };
        Taken { ids, repeated: self.repeated }
    }
}

/// Checks blocks against the job.
pub struct Checks<'gate> {
    /// Format of the job's samples.
    pub format: &'gate Format,
    /// Check of the pixels, if the job's views need one.
    pub pixels: Option<&'gate PixelRange>,
    /// The newest ids that feeders chose.
    pub known: &'gate Mutex<KnownIds>,
    /// Stream of the log.
    pub stream: u16,
    /// Whether values of its samples may be missing.
    pub may_miss: bool,
}

impl Checks<'_> {
    /// Checks blocks in order, up to the first that is refused. Returns the log entries to be written; their ids are
    /// known from now on.
    pub fn prepare(
        &self,
        blocks: Vec<(Block, Option<Mark>)>,
    ) -> (Vec<Entry>, Vec<Prepared>, Result<(), Refusal>) {
        let (mut entries, mut prepared) = (Vec::new(), Vec::new());
        for (block, mark) in blocks {
            match self.prepare_block(block, mark, &mut entries) {
                Ok(one) => prepared.push(one),
                Err(refusal) => return (entries, prepared, Err(refusal)),
            }
        }
        (entries, prepared, Ok(()))
    }

    /// Checks a block and appends the log entries to be written for it to `entries`.
    fn prepare_block(
        &self,
        block: Block,
        mark: Option<Mark>,
        entries: &mut Vec<Entry>,
    ) -> Result<Prepared, Refusal> {
        let size = sample_bytes(self.format);
        let count = self.check(&block)?;
        let ids = block.ids.clone();
        let (fresh, again) = if ids.is_empty() { (block, Vec::new()) } else { self.without_known(block)? };
        let samples = (RECORD_BYTES / size).clamp(1, RECORD_SAMPLES);
        let first_entry = entries.len();
        let mut ids_of = fresh.ids.chunks(samples);
        for (part, bytes) in fresh.bytes.chunks(samples * size).enumerate() {
            let part = part * samples..(part + 1) * samples;
            let (names, classes) = (fresh.names_in(part.clone()), fresh.classes_in(part));
            let payload = encode_block(ids_of.next().unwrap_or_default(), &names, &classes, bytes)?;
            entries.push(Entry { stream: self.stream, payload, mark: None });
        }
        if !again.is_empty() {
            entries.push(Entry { stream: LABELS, payload: record(&again)?, mark: None });
        }
        match entries[first_entry..].last_mut() {
            Some(last) => last.mark = mark,
            // All samples were known, but the mark must still be written.
            None if mark.is_some() => {
                let payload = encode_block(&[], &[], &[], &[])?;
                entries.push(Entry { stream: self.stream, payload, mark });
            }
            None => {}
        }
        let repeated = if ids.is_empty() { 0 } else { count - fresh.ids.len() };
        Ok(Prepared { count, ids, repeated, first_entry, samples })
    }

    /// Returns the new samples of a block with feeder-chosen ids, and the labels that came with the others: these may
    /// have been trained on.
    fn without_known(&self, block: Block) -> Result<(Block, Vec<Label>), Refusal> {
        let mut known = self.known.lock();
        known.forget_oldest();
        let size = sample_bytes(self.format);
        let samples = || block.ids.iter().copied().zip(block.bytes.chunks_exact(size));
        let id = |at: usize, key: u64| block.id(at).unwrap_or(SampleId::of_key(key));
        let mut within: HashMap<u64, u64> = HashMap::new();
        for (at, (key, bytes)) in samples().enumerate() {
            let hash = hash(bytes);
            let before = known.get(key).or(within.get(&key).copied());
            if before.is_some_and(|before| before != hash) {
                return Err(Refusal::IdReused(id(at, key)));
            }
            within.insert(key, hash);
        }
        let (mut fresh, mut again) = (Block::default(), Vec::new());
        let mut classes = block.classes.iter().peekable();
        for (at, (key, bytes)) in samples().enumerate() {
            let class = classes.next_if(|one| one.at as usize == at).map(|one| one.class);
            if known.get(key).is_none() {
                known.add(key, within[&key]);
                let new = fresh.ids.len() as u32;
                fresh.classes.extend(class.map(|class| SampleClass { at: new, class }));
                fresh.push_id(id(at, key));
                fresh.bytes.extend_from_slice(bytes);
            } else {
                again.extend(class.map(|class| Label { id: key, class: Some(class) }));
            }
        }
        Ok((fresh, again))
    }

    /// Returns the number of samples in a block, if it fits the job's format.
    fn check(&self, block: &Block) -> Result<usize, Refusal> {
        let size = sample_bytes(self.format);
        if !block.bytes.len().is_multiple_of(size) {
            return Err(Refusal::Bad(format!(
                "{} bytes are not a whole number of samples of {} {} values ({size} bytes each)",
                block.bytes.len(),
                self.format.shape,
                self.format.dtype.name(),
            )));
        }
        let count = block.bytes.len() / size;
        if !block.ids.is_empty() && block.ids.len() != count {
            return Err(Refusal::Bad(format!("{} ids for {count} samples", block.ids.len())));
        }
        check_ids(block)?;
        self.check_classes(block, count)?;
        if self.format.dtype == Dtype::F32 {
            for (sample, bytes) in block.bytes.chunks_exact(size).enumerate() {
                let fault = self.fault(bytes).map(|fault| format!("a value of sample {sample} {fault}"));
                fault.map_or(Ok(()), |fault| Err(Refusal::Bad(fault)))?;
            }
        }
        if let Some(pixels) = self.pixels {
            pixels.check(&values(self.format.dtype, &block.bytes)).map_err(Refusal::Bad)?;
        }
        Ok(count)
    }

    /// Says what is wrong with a sample of which a value is no finite number. Where values may be missing, one at least
    /// must be there.
    fn fault(&self, sample: &[u8]) -> Option<&'static str> {
        let (bytes, _) = sample.as_chunks::<4>();
        let mut numbers = bytes.iter().map(|bytes| f32::from_le_bytes(*bytes));
        if numbers.clone().all(f32::is_finite) {
            return None;
        }
        match self.may_miss {
            _ if numbers.clone().any(f32::is_infinite) => Some("is not a finite number"),
            true if numbers.any(|number| !number.is_nan()) => None,
            true => Some("is missing (NaN), and so are all the others"),
            false => {
                Some("is not a finite number; source.missing = \"mean\" or \"last\" fills in what is NaN")
            }
        }
    }

    /// Refuses labels of samples that the block does not have, or has twice, and labels that are no class.
    fn check_classes(&self, block: &Block, count: usize) -> Result<(), Refusal> {
        let mut next = 0;
        for SampleClass { at, class } in block.classes.iter().copied() {
            let place = at as usize;
            if place < next || place >= count {
                return Err(Refusal::Bad(format!(
                    "a label of sample {at} is out of order, or there is no such sample among {count}"
                )));
            }
            if class as usize >= self.format.classes.len() {
                let most = self.format.classes.len() - 1;
                return Err(Refusal::UnknownClass(format!(
                    "class {class} of sample {at} is not from 0 to {most}"
                )));
            }
            next = place + 1;
        }
        Ok(())
    }
}

/// Refuses ids that are the job's to give, and names that are not those of their keys.
fn check_ids(block: &Block) -> Result<(), Refusal> {
    let mut names = block.names.iter().peekable();
    for (at, key) in block.ids.iter().copied().enumerate() {
        let name = names.next_if(|one| one.at as usize == at).map(|one| &one.name);
        let fault = match name {
            Some(name) => name.fault(key),
            None => (key >= NAMED_IDS).then(|| format!("the id of sample {at} has no name")),
        };
        let fault = fault.or_else(|| chosen(SampleId { key, name: name.cloned() }).err());
        if let Some(fault) = fault {
            return Err(Refusal::Bad(fault));
        }
    }
    match names.next() {
        None => Ok(()),
        Some(one) => {
            Err(Refusal::Bad(format!("the name of sample {} is out of order, or has no id", one.at)))
        }
    }
}
