//! Durable write-ahead log: data that cannot be read again is written here before it is
//! acknowledged, and kept until a checkpoint includes it. Several streams of records share one
//! order (the sequence number).
//!
//! One thread writes. It takes all requests that have arrived, writes them as one atomic batch and
//! syncs once, so that many small feeders share the cost of a sync (group commit). Each segment is
//! a keyspace of its own: trimming deletes whole segments, and nothing is compacted.
//!
//! ```
//! use sluicebox_stream::wal::settings::LogSettings;
//! use sluicebox_stream::wal::{Entry, Wal};
//!
//! let log = Wal::temporary(&LogSettings::default())?;
//! let entry = |payload: &str| Entry { stream: 7, payload: payload.into(), mark: None };
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! let first = runtime.block_on(log.append(vec![entry("a"), entry("b")]))?; // returns once both are durable
//!
//! let mut reader = log.reader(7, first);
//! let (sequence, payload) = reader.read()?.unwrap();
//! assert_eq!((sequence, &*payload), (first, &b"a"[..]));
//! log.trim(reader.position())?; // records before this one may be deleted
//! log.close();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admission;
mod entry;
mod fill;
mod gaps;
mod hole;
mod pending;
mod reader;
mod room;
pub mod settings;
mod shared;
mod space;
mod store;
mod writer;
mod written;

pub use admission::Turn;
pub use entry::Entry;
pub use fill::Fill;
pub use gaps::Gaps;
pub use hole::{Expected, Loss, SavedEnds};
pub use pending::Pending;
pub use reader::Reader;
pub use room::Room;
pub use space::Shortage;
pub use written::Earlier;

use fjall::PersistMode;
use parking_lot::RwLock;
use settings::LogSettings;
use shared::{Inner, Request};
use sluicebox_core::error::{Error, Result};
use space::{ReadFree, Space};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use store::{Segment, Store, words};
use tokio::sync::{Mutex, Notify, Semaphore, mpsc};
use writer::{Writer, bytes_to_flush};
use written::Written;

/// A handle of the log; clones share the log.
#[derive(Clone)]
pub struct Wal(Arc<Inner>);

impl Wal {
    /// Opens the log in `folder`, or creates it. `identity` describes the job's samples. Refuses a
    /// log with another identity, a damaged log, and one that another process has open.
    pub fn open(folder: &Path, identity: &str, settings: &LogSettings) -> Result<Self> {
        Self::with(folder, identity, settings, None, None, Box::new(space::free_bytes))
    }

    /// Opens the log of a state. Records that are missing at its end are told, and their numbers are never
    /// given again; with `durability = "fsync"` such a log is refused unless the loss is accepted. So is a
    /// log that has been trimmed, in a state without a checkpoint.
    pub fn open_expecting(
        folder: &Path,
        identity: &str,
        settings: &LogSettings,
        expected: Expected,
    ) -> Result<Self> {
        Self::with(folder, identity, settings, Some(expected), None, Box::new(space::free_bytes))
    }

    /// Deletes the log in `folder`, if there is one. Returns how far it was written, if that is known.
    pub fn forget(folder: &Path) -> Result<Option<Earlier>> {
        let earlier = Written::earlier(folder);
        // Renamed first: a log of which a part is left would be a damaged one.
        let aside = folder.with_extension("forgotten");
        let cannot = |error| Error::file(folder, format!("cannot delete the log: {error}"));
        if aside.exists() {
            std::fs::remove_dir_all(&aside).map_err(cannot)?;
        }
        if folder.exists() {
            std::fs::rename(folder, &aside).map_err(cannot)?;
            std::fs::remove_dir_all(&aside).map_err(cannot)?;
        }
        Ok(earlier)
    }

    /// Creates a log that is deleted with its last handle, for jobs without a state folder.
    pub fn temporary(settings: &LogSettings) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|error| {
            Error::request(format!("cannot create a temporary folder for the log: {error}"))
        })?;
        let path = folder.path().join("log");
        Self::with(&path, "", settings, None, Some(folder), Box::new(space::free_bytes))
    }

    fn with(
        folder: &Path,
        identity: &str,
        settings: &LogSettings,
        expected: Option<Expected>,
        temporary: Option<tempfile::TempDir>,
        read_free: ReadFree,
    ) -> Result<Self> {
        let store = Store::open(folder, identity)?;
        let (next, segments) = store.recover()?;
        if expected.is_some_and(|expected| expected.saved.is_none()) {
            hole::refuse_trimmed(folder, store.oldest()?)?;
        }
        let (next, gaps) = hole::close(&store, folder, settings, next, expected.unwrap_or_default())?;
        let written = Written::begin(folder, next, gaps, settings.durability);
        let written = written.map_err(|error| Error::file(folder, words(&error.into())))?;
        let held: u64 = segments.values().map(|segment| segment.bytes).sum();
        let (requests, inbox) = mpsc::unbounded_channel();
        let log = Self(Arc::new(Inner {
            path: folder.to_path_buf(),
            store,
            settings: settings.clone(),
            segments: RwLock::new(segments),
            durable: AtomicU64::new(next),
            turn: Mutex::new(()),
            room: Semaphore::new(settings.max_bytes.saturating_sub(held) as usize),
            in_flight: Semaphore::new(admission::IN_FLIGHT as usize),
            held: AtomicU64::new(0),
            space: Space::new(folder, bytes_to_flush(settings), read_free),
            trimmed: Notify::new(),
            failed: OnceLock::new(),
            requests: RwLock::new(Some(requests)),
            writer: RwLock::new(None),
            _temporary: temporary,
        }));
        let writer =
            Writer::new(Arc::downgrade(&log.0), next, held.saturating_sub(settings.max_bytes), written);
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || writer.run(inbox));
        let thread = thread.map_err(|error| Error::Engine(format!("cannot start the log: {error}")))?;
        *log.0.writer.write() = Some(thread);
        Ok(log)
    }

    /// Waits for its turn, for room and for free space of the disk, writes `entries` in order with consecutive
    /// sequence numbers, and returns the first number once all are durable: see [`Turn`].
    pub async fn append(&self, entries: Vec<Entry>) -> Result<u64> {
        let turn = self.turn().await;
        let pending = turn.append(entries).await?;
        drop(turn);
        pending.durable().await
    }

    /// Waits for the turn to append.
    pub async fn turn(&self) -> Turn<'_> {
        Turn::come(&self.0).await
    }

    /// Returns whether an append of `bytes` would be admitted, or refused as too large, without
    /// waiting.
    pub fn has_room(&self, bytes: usize) -> bool {
        admission::has_room(&self.0, bytes as u64)
    }

    /// Returns the maximum bytes of one append.
    pub fn most_at_once(&self) -> u64 {
        self.0.settings.most_at_once()
    }

    /// Writes a few small entries that must not wait for room, such as journal records. The returned
    /// [`Pending`] yields the sequence number of the first once all are durable.
    pub fn append_now(&self, entries: Vec<Entry>) -> Result<Pending> {
        Ok(Pending::new(self.0.clone(), self.0.write(entries, false, 0, 0)?))
    }

    /// Takes room for `bytes` that are about to be written without waiting ([`Wal::append_in`]). Returns
    /// None where the log would pass one and a half times its maximum size.
    ///
    /// # Errors
    /// [`Error::Request`] if the log can never take as much at once, [`Error::Log`] if it is closed.
    pub fn room(&self, bytes: u64) -> Result<Option<Room>> {
        admission::within_bounds(&self.0, bytes)?;
        if self.0.room.is_closed() {
            return Err(self.0.closed());
        }
        Ok(Room::take(&self.0, bytes))
    }

    /// Writes entries, such as labels, into room that was taken for them, like [`Wal::append_now`].
    pub fn append_in(&self, room: Room, entries: Vec<Entry>) -> Result<Pending> {
        Ok(Pending::new(self.0.clone(), self.0.write(entries, false, 0, room.hand_over())?))
    }

    /// Sets the size of the next checkpoint: space for two of them is kept free.
    pub fn expect_checkpoint(&self, bytes: u64) {
        self.0.space.expect_checkpoint(bytes);
    }

    /// Returns what the disk lacks for the next two checkpoints and a segment. Appends wait meanwhile.
    pub fn shortage(&self) -> Option<Shortage> {
        self.0.space.shortage()
    }

    /// Returns whether to free space: the log is half full, or the disk has too little free space.
    pub fn is_pressed(&self) -> bool {
        self.fill().is_half_full() || self.shortage().is_some()
    }

    /// Returns whether the disk may have no space for even a few records.
    pub fn is_disk_full(&self) -> bool {
        self.0.space.is_full()
    }

    /// Fails if the log has failed: then nothing can be written any more.
    pub fn check(&self) -> Result<()> {
        self.0.failed.get().map_or(Ok(()), |reason| Err(self.0.fault(reason)))
    }

    /// Returns the first sequence number that is not durable yet.
    pub fn durable(&self) -> u64 {
        self.0.durable()
    }

    /// Refuses to be read from `position` on if it has never got that far: records to come would have numbers
    /// that count as read.
    pub fn reaches(&self, position: u64) -> Result<()> {
        let end = self.durable();
        if position <= end {
            return Ok(());
        }
        Err(self.0.fault(&format!(
            "the next record to read is {position}, but the next to be written is {end}: go on from the newest checkpoint \
             without the log, with --forget-log, or start anew with --fresh"
        )))
    }

    /// Returns the value of a mark.
    pub fn mark(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self.0.store.mark(key).map_err(|error| self.0.fault_of(&error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Returns up to `most` marks, in the order of their keys.
    pub fn marks(&self, most: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.0.store.marks(most).map_err(|error| self.0.fault_of(&error))
    }

    /// Writes marks that the log has lost; they are durable when this returns.
    pub fn restore_marks(&self, marks: Vec<(Vec<u8>, Vec<u8>)>) -> Result<()> {
        let mut batch = self.0.store.batch(PersistMode::SyncData);
        marks.into_iter().for_each(|(key, value)| self.0.store.insert_mark(&mut batch, key, value));
        batch.commit().map_err(|error| self.0.fault_of(&error))
    }

    /// Waits until everything that was written so far is on disk, also with `durability = "os"`.
    pub fn sync(&self) -> Result<()> {
        let synced = self.0.store.sync();
        synced.map_err(|error| self.0.fault(&self.0.fail(words(&error))))
    }

    /// Returns a reader of a stream's durable records from `from` on (0: from the oldest that is
    /// kept).
    pub fn reader(&self, stream: u16, from: u64) -> Reader {
        Reader::new(self.0.clone(), stream, from)
    }

    /// Like [`Wal::reader`], but begins with the oldest record that is kept where `from` has been trimmed: for
    /// those who look at what is there, and miss nothing.
    pub fn reader_of_kept(&self, stream: u16, from: u64) -> Reader {
        let oldest = self.0.segments.read().keys().next().copied().unwrap_or_default();
        self.reader(stream, from.max(oldest))
    }

    /// Deletes records before `before`, as far as they fill whole segments, and releases their room
    /// to waiting appends. Returns at once; the trim is done when a later [append](Wal::append_now)
    /// is durable.
    pub fn trim(&self, before: u64) -> Result<()> {
        self.check()?;
        self.0.send(Request::Trim(before))
    }

    /// Returns the number of bytes that [`Wal::trim`] would free.
    pub fn frees(&self, before: u64) -> u64 {
        let segments = self.0.segments.read();
        let ends = segments.keys().copied().skip(1).chain([self.durable()]);
        segments.values().zip(ends).filter(|(_, end)| *end <= before).map(|(part, _)| part.bytes).sum()
    }

    /// Returns the bytes for which a trim is worth a checkpoint: any in a log that is half full or old. Where only the
    /// disk is short, half a segment: the step that takes the checkpoint writes a record itself, and would ask for more.
    pub fn least_gain(&self) -> u64 {
        if self.fill().is_half_full() { 1 } else { self.0.settings.segment_bytes() / 2 }
    }

    /// Returns the fill level.
    pub fn fill(&self) -> Fill {
        let segments = self.0.segments.read();
        Fill {
            bytes: segments.values().map(|segment| segment.bytes).sum(),
            max_bytes: self.0.settings.max_bytes,
            age: segments.values().next().map(Segment::age).unwrap_or_default(),
            max_age: self.0.settings.max_age,
        }
    }

    /// Stops the writer once all requests it has received are durable. Later appends fail, and so
    /// do appends that still wait for room.
    pub fn close(&self) {
        self.0.requests.write().take();
        self.0.refuse();
        let writer = self.0.writer.write().take();
        if let Some(writer) = writer {
            let _ = writer.join(); // the panic hook has reported its panic
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    fn entry(stream: u16, text: &str) -> Entry {
        Entry { stream, payload: text.as_bytes().to_vec(), mark: None }
    }

    fn read(log: &Wal, stream: u16, from: u64) -> Vec<(u64, String)> {
        let mut reader = log.reader(stream, from);
        std::iter::from_fn(|| reader.read().unwrap())
            .map(|(sequence, payload)| (sequence, String::from_utf8(payload.to_vec()).unwrap()))
            .collect()
    }

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_feeder_waits_until_the_disk_has_space() {
        let (folder, free) = (tempfile::tempdir().unwrap(), Arc::new(AtomicU64::new(0)));
        let disk = free.clone();
        let read = Box::new(move |_: &Path| Ok(disk.load(Ordering::Relaxed)));
        let settings = LogSettings { max_bytes: 1 << 20, ..LogSettings::default() };
        let log = Wal::with(folder.path(), "a", &settings, None, None, read).unwrap();
        log.expect_checkpoint(1 << 20);
        assert!(log.is_disk_full() && log.is_pressed());
        let waiting = log.clone();
        let feeder = std::thread::spawn(move || block(waiting.append(vec![entry(0, "one")])));
        std::thread::sleep(3 * space::LOOK);
        assert!(!feeder.is_finished() && log.durable() == 0);
        // What the job itself must write goes on.
        block(log.append_now(vec![entry(1, "step")]).unwrap().durable()).unwrap();
        free.store(1 << 30, Ordering::Relaxed);
        assert_eq!(feeder.join().unwrap().unwrap(), 1);
        assert!(log.shortage().is_none() && !log.is_disk_full());
    }

    #[test]
    fn what_is_written_is_read_in_order_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let settings = LogSettings::default();
        let log = Wal::open(folder.path(), "a", &settings).unwrap();
        assert_eq!(block(log.append(vec![entry(0, "one"), entry(1, "label"), entry(0, "two")])).unwrap(), 0);
        let marked = Entry { mark: Some((b"client".to_vec(), b"7".to_vec())), ..entry(0, "three") };
        assert_eq!(block(log.append(vec![marked])).unwrap(), 3);
        let expected: Vec<(u64, String)> = vec![(0, "one".into()), (2, "two".into()), (3, "three".into())];
        assert_eq!(read(&log, 0, 0), expected);
        assert_eq!(read(&log, 0, 1), expected[1..]);
        assert_eq!(read(&log, 1, 0), [(1, "label".to_string())]);
        log.close();
        assert!(log.append_now(vec![entry(0, "late")]).is_err());
        drop(log);
        let log = Wal::open(folder.path(), "a", &settings).unwrap();
        assert_eq!(log.durable(), 4);
        assert_eq!(read(&log, 0, 0), expected);
        assert_eq!(log.mark(b"client").unwrap().unwrap(), b"7");
        assert_eq!(block(log.append(vec![entry(0, "four")])).unwrap(), 4);
        log.close();
        drop(log);
        let other = Wal::open(folder.path(), "b", &settings).err().unwrap().to_string();
        assert!(other.contains("another job"), "{other}");
    }
}
