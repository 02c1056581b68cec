//! The ingest gate.

use crate::auth::Refusals;
use crate::ingest::feeder_marks::{FeederMarks, MOST_FEEDERS};
use crate::ingest::known_ids::{KnownIds, hash};
use crate::ingest::record::{LABELS, RECORD_SAMPLES, content, encode_block, given_id, record};
use crate::ingest::refusal::Refusal;
use crate::ingest::saved::{Mark, SavedIngest, count};
use crate::wal::{Entry, Pending, Room, Wal};
use parking_lot::Mutex;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::health::Health;
use sluicebox_core::sample::{Block, Dtype, Format, GIVEN_IDS, Label, Values, sample_bytes};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once, OnceLock};

/// Maximum bytes of values per log record, unless one sample alone has more.
const RECORD_BYTES: usize = 1 << 20;

/// Bytes of a record of labels besides the labels.
const LABELS_RECORD: u64 = 128;
/// Bytes of a label in a record, at most.
const LABEL_BYTES: u64 = 16;
/// Bytes that are checked at once on the thread of the listeners. More than that takes a thread of its own, and so
/// does anything that would have to wait for such a thread.
const AT_ONCE: usize = 8 << 20;
/// Bytes that take as long to check as one id.
const ID_COST: usize = 1 << 10;

/// Result of taking in a block of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Id of each sample, in order.
    pub ids: Vec<u64>,
    /// Number of samples that had been taken in before: same id and same values.
    pub repeated: usize,
}

/// A checked block that is about to be written.
struct Prepared {
    count: usize,
    /// Ids chosen by the feeder, if any.
    ids: Vec<u64>,
    /// Those of them that are new.
    fresh: Vec<u64>,
    repeated: usize,
    /// Index of the block's first entry, and samples per entry.
    first_entry: usize,
    samples: usize,
}

impl Prepared {
    /// Returns the result, where the first of all entries has sequence number `first`.
    fn taken(self, first: u64) -> Taken {
        let sequence = first + self.first_entry as u64;
        let given = |at| given_id(sequence + (at / self.samples) as u64, at % self.samples);
        let ids = if self.ids.is_empty() { (0..self.count).map(given).collect() } else { self.ids };
        Taken { ids, repeated: self.repeated }
    }
}

/// The ingest gate. All listeners of the job share it.
pub struct Ingest {
    log: Wal,
    format: Format,
    ids: Mutex<KnownIds>,
    marks: Mutex<FeederMarks>,
    /// New samples taken in by this process.
    arrived: AtomicU64,
    /// Counts of refusals, by this gate and by the listeners.
    pub refusals: Refusals,
    /// Health of the job, for the listeners.
    pub health: Health,
    /// Log stream that `POST /samples` feeds, if a source reads it.
    pub http: OnceLock<u16>,
    /// Whether it was told that checkpoints do not hold the progress of all feeders.
    told: Once,
}

impl Ingest {
    /// Creates a gate to `log`. Reads the ids in the log, so that samples a feeder sends again
    /// after a restart are taken in only once.
    pub fn new(log: Wal, format: Format, streams: u16) -> Result<Self> {
        Self::with(log, format, streams, KnownIds::default(), FeederMarks::default(), 0)
    }

    /// Creates a gate that goes on from the section that [`Ingest::save`] returned, and from the records of
    /// the log from `needed` on, which that checkpoint has not read.
    pub fn resume(log: Wal, format: Format, streams: u16, section: &[u8], needed: u64) -> Result<Self> {
        let saved = SavedIngest::load(section)?;
        let (mut lost, mut marks) = (Vec::new(), FeederMarks::default());
        for (key, value) in saved.marks() {
            marks.restore((key.clone(), value.clone()));
            if log.mark(&key)?.is_none_or(|present| count(&present) < count(&value)) {
                lost.push((key, value));
            }
        }
        if !lost.is_empty() {
            log.restore_marks(lost)?;
        }
        Self::with(log, format, streams, KnownIds::of_checkpoint(&saved.ids), marks, needed)
    }

    fn with(
        log: Wal,
        format: Format,
        streams: u16,
        mut ids: KnownIds,
        mut marks: FeederMarks,
        needed: u64,
    ) -> Result<Self> {
        // Which record they were written with is not known: it is one of those that are there.
        let newest = log.durable().saturating_sub(1);
        log.marks(MOST_FEEDERS)?.into_iter().for_each(|mark| marks.add(newest, mark));
        for stream in 0..streams {
            let mut records = log.reader_of_kept(stream, needed);
            while let Some((_, payload)) = records.read()? {
                let block: Block = content(&payload)?;
                let sample_bytes = sample_bytes(&format);
                for (id, bytes) in block.ids.iter().zip(block.bytes.chunks_exact(sample_bytes)) {
                    ids.add(*id, hash(bytes));
                }
            }
        }
        let (ids, marks) = (Mutex::new(ids), Mutex::new(marks));
        let (arrived, refusals) = (AtomicU64::default(), Refusals::default());
        let (health, http, told) = (Health::default(), OnceLock::new(), Once::new());
        Ok(Self { log, format, ids, marks, arrived, refusals, health, http, told })
    }

    /// Notes that samples are part of a step: from then on checkpoints hold their ids.
    pub fn set_trained(&self, ids: &[u64]) {
        let mut known = self.ids.lock();
        ids.iter().filter(|id| **id < GIVEN_IDS).for_each(|id| known.set_trained(*id));
    }

    /// Returns the gate's section of a checkpoint that has read the records before `position`: the ids of samples
    /// that are part of a step, and how far feeders have come in those records.
    pub fn save(&self, position: u64) -> Result<Vec<u8>> {
        let mut marks = self.marks.lock();
        if marks.are_too_many {
            self.told.call_once(|| {
                tracing::warn!(
                    "more than {MOST_FEEDERS} client ids have fed this job: checkpoints hold the progress of as many, \
                     that of the others is in the log only"
                );
            });
        }
        let ids = self.ids.lock().trained();
        SavedIngest::new(ids, marks.before(position)).save()
    }

    /// Remembers the id of a sample that an earlier run trained on and that has since left the log: a checkpoint
    /// of an earlier Sluicebox may hold no ids, but it holds samples that await a label.
    pub fn remember(&self, id: u64, values: &Values) {
        if id < GIVEN_IDS {
            let mut sample = Block::default();
            sample.push(values);
            let mut known = self.ids.lock();
            known.add(id, hash(&sample.bytes));
            known.set_trained(id);
        }
    }

    /// Returns the format of the samples.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Returns the log behind the gate.
    pub fn log(&self) -> &Wal {
        &self.log
    }

    /// Takes samples into `stream` and returns once they are durable; waits while the log is full.
    /// `mark` becomes durable together with them, even if all samples were known before.
    ///
    /// A write that has begun completes even if the caller drops this future.
    pub async fn take(
        self: &Arc<Self>,
        stream: u16,
        block: Block,
        mark: Option<Mark>,
    ) -> Result<Taken, Refusal> {
        let (mut taken, ended) = self.take_all(stream, vec![(block, mark)]).await;
        ended?;
        taken.pop().ok_or_else(|| Error::Engine("the samples could not be written to the log".into()).into())
    }

    /// Takes in several blocks as one write, in order. The first refused block ends it: the blocks
    /// before it are taken in, those after it are not looked at.
    pub async fn take_all(
        self: &Arc<Self>,
        stream: u16,
        blocks: Vec<(Block, Option<Mark>)>,
    ) -> (Vec<Taken>, Result<(), Refusal>) {
        let ingest = self.clone();
        let taken = tokio::spawn(async move { ingest.take_uncounted(stream, blocks).await }).await;
        let (taken, ended) = taken.unwrap_or_else(|error| {
            (
                Vec::new(),
                Err(Error::Engine(format!("the samples could not be written to the log: {error}")).into()),
            )
        });
        (taken, ended.inspect_err(|refusal| self.count(refusal.reason())))
    }

    /// Like [`Self::take`], but refuses instead of waiting for room or free space.
    pub async fn take_now(self: &Arc<Self>, stream: u16, block: Block) -> Result<Taken, Refusal> {
        self.check_space().map_err(|refusal| self.refuse(refusal))?;
        if !self.log.has_room(block.bytes.len()) {
            return Err(self.refuse(Refusal::Full));
        }
        self.take(stream, block, None).await
    }

    fn check_space(&self) -> Result<(), Refusal> {
        self.log.shortage().map_or(Ok(()), |shortage| Err(Refusal::Disk(shortage)))
    }

    /// Counts a refusal and returns it.
    fn refuse(&self, refusal: Refusal) -> Refusal {
        self.count(refusal.reason());
        refusal
    }

    async fn take_uncounted(
        self: Arc<Self>,
        stream: u16,
        blocks: Vec<(Block, Option<Mark>)>,
    ) -> (Vec<Taken>, Result<(), Refusal>) {
        let size: usize = blocks.iter().map(|(block, _)| block.bytes.len() + ID_COST * block.ids.len()).sum();
        let is_much = size > AT_ONCE || self.ids.is_locked();
        let ingest = self.clone();
        let prepare = move || ingest.prepare_all(stream, blocks);
        let done = match is_much {
            true => tokio::task::spawn_blocking(prepare).await,
            false => Ok(prepare()),
        };
        let (entries, prepared, ended) = match done {
            Ok(done) => done,
            Err(error) => return (Vec::new(), Err(Error::Engine(error.to_string()).into())),
        };
        if prepared.is_empty() {
            return (Vec::new(), ended);
        }
        let marked = entries.iter().enumerate().filter_map(|(at, entry)| Some((at, entry.mark.clone()?)));
        let marked: Vec<(usize, Mark)> = marked.collect();
        match self.log.append(entries).await {
            Ok(first) => {
                let mut marks = self.marks.lock();
                marked.into_iter().for_each(|(at, mark)| marks.add(first + at as u64, mark));
                drop(marks);
                let new: usize = prepared.iter().map(|one| one.count - one.repeated).sum();
                self.arrived.fetch_add(new as u64, Ordering::Relaxed);
                (prepared.into_iter().map(|one| one.taken(first)).collect(), ended)
            }
            Err(error) => {
                let mut known = self.ids.lock();
                prepared.iter().flat_map(|one| &one.fresh).for_each(|id| known.forget(*id));
                let refusal = match error {
                    Error::Request(reason) => Refusal::TooLarge(reason),
                    error => error.into(),
                };
                (Vec::new(), Err(refusal))
            }
        }
    }

    /// Checks blocks in order, up to the first that is refused. Returns the log entries to be written.
    fn prepare_all(
        &self,
        stream: u16,
        blocks: Vec<(Block, Option<Mark>)>,
    ) -> (Vec<Entry>, Vec<Prepared>, Result<(), Refusal>) {
        let (mut entries, mut prepared) = (Vec::new(), Vec::new());
        for (block, mark) in blocks {
            match self.prepare(stream, block, mark, &mut entries) {
                Ok(one) => prepared.push(one),
                Err(refusal) => return (entries, prepared, Err(refusal)),
            }
        }
        (entries, prepared, Ok(()))
    }

    /// Checks a block and appends the log entries to be written for it to `entries`.
    fn prepare(
        &self,
        stream: u16,
        block: Block,
        mark: Option<Mark>,
        entries: &mut Vec<Entry>,
    ) -> Result<Prepared, Refusal> {
        let size = sample_bytes(&self.format);
        let count = self.check(&block)?;
        let ids = block.ids.clone();
        let fresh = if ids.is_empty() { block } else { self.without_known(block)? };
        let samples = (RECORD_BYTES / size).clamp(1, RECORD_SAMPLES);
        let first_entry = entries.len();
        let mut names = fresh.ids.chunks(samples);
        for bytes in fresh.bytes.chunks(samples * size) {
            let payload = encode_block(names.next().unwrap_or_default(), bytes);
            entries.push(Entry { stream, payload, mark: None });
        }
        match entries[first_entry..].last_mut() {
            Some(last) => last.mark = mark,
            // All samples were known, but the mark must still be written.
            None if mark.is_some() => entries.push(Entry { stream, payload: encode_block(&[], &[]), mark }),
            None => {}
        }
        let repeated = if ids.is_empty() { 0 } else { count - fresh.ids.len() };
        Ok(Prepared { count, ids, fresh: fresh.ids, repeated, first_entry, samples })
    }

    /// Returns the new samples of a block with feeder-chosen ids.
    fn without_known(&self, block: Block) -> Result<Block, Refusal> {
        let mut known = self.ids.lock();
        let size = sample_bytes(&self.format);
        let samples = || block.ids.iter().copied().zip(block.bytes.chunks_exact(size));
        let mut within: HashMap<u64, u64> = HashMap::new();
        for (id, bytes) in samples() {
            let hash = hash(bytes);
            let before = known.get(id).or(within.get(&id).copied());
            if before.is_some_and(|before| before != hash) {
                return Err(Refusal::IdReused(id));
            }
            within.insert(id, hash);
        }
        let mut fresh = Block::default();
        for (id, bytes) in samples() {
            if known.get(id).is_none() {
                known.add(id, within[&id]);
                fresh.ids.push(id);
                fresh.bytes.extend_from_slice(bytes);
            }
        }
        Ok(fresh)
    }

    /// Returns the number of samples in a block, if it fits the job's format.
    fn check(&self, block: &Block) -> Result<usize, Refusal> {
        let size = sample_bytes(&self.format);
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
        if let Some(id) = block.ids.iter().find(|id| **id >= GIVEN_IDS) {
            return Err(Refusal::Bad(format!("id {id} is too large: ids are from 0 to 2^52 - 1")));
        }
        if self.format.dtype == Dtype::F32 {
            let values = block.bytes.chunks_exact(4);
            let wrong = values.map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]]));
            if let Some(at) = wrong.into_iter().position(|value| !value.is_finite()) {
                let sample = at / self.format.shape.len();
                return Err(Refusal::Bad(format!("a value of sample {sample} is not a finite number")));
            }
        }
        Ok(count)
    }

    /// Takes room in the log for `count` labels. Labels do not wait for it: they are refused where the
    /// log would pass one and a half times its maximum size, or while the disk has too little free space.
    pub fn room_for_labels(&self, count: usize) -> Result<Room, Refusal> {
        self.look_for_room(count).map_err(|refusal| self.refuse(refusal))
    }

    /// Like [`Self::room_for_labels`], but counts no refusal: for callers that wait and ask again.
    pub fn look_for_room(&self, count: usize) -> Result<Room, Refusal> {
        self.check_space()?;
        match self.log.room(LABELS_RECORD + LABEL_BYTES * count as u64) {
            Ok(Some(room)) => Ok(room),
            Ok(None) => Err(Refusal::Full),
            Err(Error::Request(reason)) => Err(Refusal::TooLarge(reason)),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in labels; returns their number once they are durable.
    pub async fn label(&self, labels: &[Label]) -> Result<usize, Refusal> {
        self.label_in(self.room_for_labels(labels.len())?, labels).await
    }

    /// Takes in labels for which there is room.
    pub async fn label_in(&self, room: Room, labels: &[Label]) -> Result<usize, Refusal> {
        let classes = self.format.classes.len();
        if let Some(wrong) = labels.iter().find(|l| l.class.is_some_and(|class| class as usize >= classes)) {
            let (id, class) = (wrong.id, wrong.class.unwrap_or_default());
            let refusal = Refusal::Bad(format!("class {class} of id {id} is not from 0 to {}", classes - 1));
            self.count("unknown-class");
            return Err(refusal);
        }
        let payload = record(&labels)?;
        let entry = Entry { stream: LABELS, payload, mark: None };
        let pending: Pending = self.log.append_in(room, vec![entry])?;
        pending.durable().await?;
        Ok(labels.len())
    }

    /// Counts a refusal that happened elsewhere, such as an invalid frame.
    pub fn count(&self, reason: &'static str) {
        self.refusals.count(reason);
    }

    /// Returns the number of new samples taken in by this process.
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Returns the counts of refusals by reason.
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refusals.read()
    }
}
