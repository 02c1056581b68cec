//! The ingest gate.

use crate::auth::Refusals;
use crate::decode::PixelRange;
use crate::ingest::feeder_marks::{FeederMarks, MOST_FEEDERS};
use crate::ingest::known_ids::{KnownIds, hash};
use crate::ingest::met::Met;
use crate::ingest::prepared::{Checks, Prepared, Taken};
use crate::ingest::record::{LABELS, block, can_give_ids, record};
use crate::ingest::refusal::Refusal;
use crate::ingest::saved::{Mark, SavedIngest, count};
use crate::wal::{Entry, Pending, Room, Wal};
use parking_lot::Mutex;
use sluicebox_core::backlog::Backlog;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::health::Health;
use sluicebox_core::sample::{Block, Format, Label, Values, sample_bytes};
use sluicebox_core::sample_id::is_given;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Bytes of a record of labels besides the labels.
const LABELS_RECORD: u64 = 128;
/// Bytes of a label in a record, at most.
const LABEL_BYTES: u64 = 16;
/// Bytes that are checked at once on the thread of the listeners. More than that takes a thread of its own, and so
/// does anything that would have to wait for such a thread.
const AT_ONCE: usize = 8 << 20;
/// Bytes that take as long to check as one id.
const ID_COST: usize = 1 << 10;
/// Time that a request which is refused where there is no room waits for those that came before it.
const TURN: Duration = Duration::from_secs(2);

/// Returns what the only block has come to.
fn only((mut taken, ended): (Vec<Taken>, Result<(), Refusal>)) -> Result<Taken, Refusal> {
    ended?;
    taken.pop().ok_or_else(|| Error::Engine("the samples could not be written to the log".into()).into())
}

/// Waits for `work`, until `deadline` if there is one.
async fn by<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

/// The ingest gate. All listeners of the job share it.
pub struct Ingest {
    log: Wal,
    format: Format,
    ids: Mutex<KnownIds>,
    /// Ids of samples that are read elsewhere than from the log, such as from a topic. They are apart from the others,
    /// whose newest may be taken back.
    met: Mutex<KnownIds>,
    marks: Mutex<FeederMarks>,
    /// New samples taken in by this process.
    arrived: AtomicU64,
    labels: AtomicU64,
    /// Counts of refusals, by this gate and by the listeners.
    pub refusals: Refusals,
    /// Health of the job, for the listeners.
    pub health: Health,
    /// Records that wait where sources read them.
    pub backlog: Backlog,
    /// Log stream that `POST /samples` feeds, if a source reads it.
    pub http: OnceLock<u16>,
    /// Streams of samples of which values may be missing (NaN).
    pub may_miss: Mutex<BTreeSet<u16>>,
    /// Check of the pixels, if the job's views need one.
    pub pixels: OnceLock<PixelRange>,
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
                let block = block(&payload)?;
                let sample_bytes = sample_bytes(&format);
                for (id, bytes) in block.ids.iter().zip(block.bytes.chunks_exact(sample_bytes)) {
                    ids.add(*id, hash(bytes));
                }
                ids.forget_oldest();
            }
        }
        let (ids, met, marks) = (Mutex::new(ids), Mutex::default(), Mutex::new(marks));
        let (arrived, labels, refusals) = (AtomicU64::default(), AtomicU64::default(), Refusals::default());
        let (health, backlog, http) = (Health::default(), Backlog::default(), OnceLock::new());
        let (may_miss, pixels, told) = (Mutex::default(), OnceLock::new(), Once::new());
        Ok(Self {
            log,
            format,
            ids,
            met,
            marks,
            arrived,
            labels,
            refusals,
            health,
            backlog,
            http,
            may_miss,
            pixels,
            told,
        })
    }

    /// Notes that samples are part of a step: from then on checkpoints hold their ids.
    pub fn set_trained(&self, ids: &[u64]) {
        for known in [&self.ids, &self.met] {
            let mut known = known.lock();
            ids.iter().filter(|id| !is_given(**id)).for_each(|id| known.set_trained(*id));
        }
    }

    /// Meets the id of a sample that is read elsewhere than from the log, and counts it if it is not new. A checkpoint
    /// holds it once its sample is part of a step; the others are met again when they are read again.
    pub fn meet(&self, id: u64, values: &Values) -> Met {
        let mut sample = Block::default();
        sample.push(values);
        let hash = hash(&sample.bytes);
        let mut met = self.met.lock();
        let found = Met::of(met.get(id).or_else(|| self.ids.lock().get(id)), hash);
        match found {
            Met::New => {
                met.forget_oldest();
                met.add(id, hash);
            }
            Met::Again => self.count("id-repeated"),
            Met::WithOtherValues => self.count("id-reused"),
        }
        found
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
        let ids = [self.ids.lock().trained(), self.met.lock().trained()].concat();
        SavedIngest::new(ids, marks.before(position)).save()
    }

    /// Remembers the id of a sample that an earlier run trained on and that has since left the log: a checkpoint
    /// of an earlier Sluicebox may hold no ids, but it holds samples that await a label.
    pub fn remember(&self, id: u64, values: &Values) {
        if !is_given(id) {
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
        only(self.take_all(stream, vec![(block, mark)]).await)
    }

    /// Takes in several blocks as one write, in order. The first refused block ends it: the blocks
    /// before it are taken in, those after it are not looked at.
    pub async fn take_all(
        self: &Arc<Self>,
        stream: u16,
        blocks: Vec<(Block, Option<Mark>)>,
    ) -> (Vec<Taken>, Result<(), Refusal>) {
        self.take_by(None, stream, blocks).await
    }

    /// Like [`Self::take_all`], but refuses once it has waited until `deadline`.
    async fn take_by(
        self: &Arc<Self>,
        deadline: Option<Instant>,
        stream: u16,
        blocks: Vec<(Block, Option<Mark>)>,
    ) -> (Vec<Taken>, Result<(), Refusal>) {
        let ingest = self.clone();
        let taken = tokio::spawn(async move { ingest.take_uncounted(deadline, stream, blocks).await }).await;
        let (taken, ended) = taken.unwrap_or_else(|error| {
            (
                Vec::new(),
                Err(Error::Engine(format!("the samples could not be written to the log: {error}")).into()),
            )
        });
        (taken, ended.inspect_err(|refusal| self.count(refusal.reason())))
    }

    /// Like [`Self::take`], but refuses instead of waiting for room or free space. For those that came before it, it
    /// waits 2 s at most.
    pub async fn take_now(self: &Arc<Self>, stream: u16, block: Block) -> Result<Taken, Refusal> {
        self.check_space().map_err(|refusal| self.refuse(refusal))?;
        if !self.log.has_room(block.bytes.len()) {
            return Err(self.refuse(Refusal::Full));
        }
        only(self.take_by(Some(Instant::now() + TURN), stream, vec![(block, None)]).await)
    }

    /// Returns the refusal of samples for which there is no room.
    fn no_room(&self) -> Refusal {
        self.check_space().err().unwrap_or(Refusal::Full)
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
        deadline: Option<Instant>,
        stream: u16,
        blocks: Vec<(Block, Option<Mark>)>,
    ) -> (Vec<Taken>, Result<(), Refusal>) {
        // Its turn comes before the look at the ids: those that are known then are with the writer already, so this
        // append comes after them, and a repeated sample is not acknowledged before it is durable.
        let Some(turn) = by(deadline, self.log.turn()).await else {
            return (Vec::new(), Err(self.no_room()));
        };
        if !can_give_ids(self.log.durable()) && blocks.iter().any(|(block, _)| block.ids.is_empty()) {
            let reason = "this job has given all the ids that it has; feed samples with ids of their own";
            return (Vec::new(), Err(Refusal::Bad(reason.into())));
        }
        let size: usize = blocks.iter().map(|(block, _)| block.bytes.len() + ID_COST * block.ids.len()).sum();
        let is_much = size > AT_ONCE || self.ids.is_locked();
        let ingest = self.clone();
        let prepare = move || {
            Checks {
                format: &ingest.format,
                pixels: ingest.pixels.get(),
                known: &ingest.ids,
                stream,
                may_miss: ingest.may_miss.lock().contains(&stream),
            }
            .prepare(blocks)
        };
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
        let may_wait = deadline.is_none() || turn.has_room_for(&entries);
        let sent = if may_wait { by(deadline, turn.append(entries)).await } else { None };
        let refusal = match sent {
            Some(Ok(pending)) => {
                drop(turn);
                return match pending.durable().await {
                    Ok(first) => (self.taken(first, marked, prepared), ended),
                    Err(error) => (Vec::new(), Err(error.into())), // the job ends
                };
            }
            Some(Err(Error::Request(reason))) => Refusal::TooLarge(reason),
            Some(Err(error)) => error.into(),
            None => self.no_room(),
        };
        self.ids.lock().take_back(prepared.iter().map(Prepared::new_ids).sum());
        (Vec::new(), Err(refusal))
    }

    /// Notes what was written as the records from `first` on.
    fn taken(&self, first: u64, marked: Vec<(usize, Mark)>, prepared: Vec<Prepared>) -> Vec<Taken> {
        let mut marks = self.marks.lock();
        marked.into_iter().for_each(|(at, mark)| marks.add(first + at as u64, mark));
        drop(marks);
        let new: usize = prepared.iter().map(Prepared::new_samples).sum();
        self.arrived.fetch_add(new as u64, Ordering::Relaxed);
        prepared.into_iter().map(|one| one.taken(first)).collect()
    }

    /// Takes room in the log for `count` labels. Labels do not wait for it: they are refused where the
    /// log would pass one and a half times its maximum size, or while the disk has too little free space.
    pub fn room_for_labels(&self, count: usize) -> Result<Room, Refusal> {
        self.check_space().map_err(|refusal| self.refuse(refusal))?;
        match self.log.room(LABELS_RECORD + LABEL_BYTES * count as u64) {
            Ok(Some(room)) => Ok(room),
            Ok(None) => Err(self.refuse(Refusal::Full)),
            Err(Error::Request(reason)) => Err(self.refuse(Refusal::TooLarge(reason))),
            Err(error) => Err(self.refuse(error.into())),
        }
    }

    /// Takes in labels; returns their number once they are durable.
    pub async fn label(&self, labels: &[Label]) -> Result<usize, Refusal> {
        let room = self.room_for_labels(labels.len())?;
        let classes = self.format.classes.len();
        if let Some(wrong) = labels.iter().find(|l| l.class.is_some_and(|class| class as usize >= classes)) {
            let (id, class) = (wrong.id, wrong.class.unwrap_or_default());
            let reason = format!("class {class} of id {id} is not from 0 to {}", classes - 1);
            return Err(self.refuse(Refusal::UnknownClass(reason)));
        }
        let payload = record(&labels)?;
        let entry = Entry { stream: LABELS, payload, mark: None };
        let pending: Pending = self.log.append_in(room, vec![entry])?;
        pending.durable().await?;
        self.labels.fetch_add(labels.len() as u64, Ordering::Relaxed);
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

    /// Returns the number of labels taken in by this process, without those that came with their sample.
    pub fn labels(&self) -> u64 {
        self.labels.load(Ordering::Relaxed)
    }

    /// Returns the counts of refusals by reason.
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refusals.read()
    }
}
