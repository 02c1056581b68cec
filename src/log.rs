//! The durable log: what cannot be read again is written here before it is acknowledged, and
//! kept until a checkpoint has it. Streams of records share one order (the sequence number).
//!
//! One thread writes. It takes whatever has come in, writes it as one atomic batch and makes
//! it durable once, so that many small feeders do not each pay for that (group commit). A
//! segment is a keyspace of its own: trimming drops whole segments, and nothing is compacted.

use crate::error::{Error, Result};
use crate::job::{Durability, Log as Settings};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// One record to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The stream it belongs to.
    pub stream: u16,
    /// What it says.
    pub payload: Vec<u8>,
    /// A small fact that is to become durable together with it: key and value.
    pub mark: Option<(Vec<u8>, Vec<u8>)>,
}

/// Bytes that may wait for the writer at once.
const IN_FLIGHT: usize = 64 << 20;
/// Bytes that are written as one batch.
const GROUP: usize = 8 << 20;
/// Bytes a reader takes at a time.
const READ_AHEAD: usize = 4 << 20;
/// The permits of the semaphores are KiB.
const UNIT: usize = 1 << 10;
/// How often an appender looks whether what made the log too old is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

type Done = oneshot::Sender<Result<u64, String>>;

struct Request {
    entries: Vec<Entry>,
    /// KiB of [`IN_FLIGHT`] that it holds.
    in_flight: u32,
    done: Option<Done>,
}

/// A part of the log that is trimmed as a whole.
struct Segment {
    keyspace: Keyspace,
    bytes: u64,
    made: SystemTime,
}

struct Inner {
    path: PathBuf,
    database: Database,
    marks: Keyspace,
    settings: Settings,
    /// By the first sequence number in each.
    segments: RwLock<BTreeMap<u64, Segment>>,
    /// The first sequence number that is not durable.
    durable: AtomicU64,
    /// KiB that may still be admitted.
    room: Semaphore,
    in_flight: Semaphore,
    requests: RwLock<Option<mpsc::UnboundedSender<Request>>>,
    writer: RwLock<Option<JoinHandle<()>>>,
    /// Removes the folder at the end, where the log is to be forgotten.
    _temporary: Option<tempfile::TempDir>,
}

/// A handle of the log; clones share it.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

/// How full the log is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fill {
    /// Payload bytes in it.
    pub bytes: u64,
    /// Bytes at which feeders are slowed.
    pub max_bytes: u64,
    /// Age of the oldest segment.
    pub age: Duration,
}

impl Fill {
    /// Whether it is time to make room.
    pub fn is_half_full(&self) -> bool {
        self.bytes >= self.max_bytes / 2
    }
}

impl Log {
    /// Opens the log in `folder`, or makes it. `identity` says whose it is: a log of another is
    /// refused.
    pub fn open(folder: &Path, identity: &str, settings: &Settings) -> Result<Self> {
        Self::with(folder, identity, settings, None)
    }

    /// A log that is forgotten when its last handle is gone: for what need not be kept.
    pub fn temporary(settings: &Settings) -> Result<Self> {
        let folder = tempfile::tempdir()
            .map_err(|error| Error::request(format!("cannot make a folder for what comes in: {error}")))?;
        let path = folder.path().join("log");
        Self::with(&path, "", settings, Some(folder))
    }

    fn with(
        folder: &Path,
        identity: &str,
        settings: &Settings,
        temporary: Option<tempfile::TempDir>,
    ) -> Result<Self> {
        let cannot = |error: fjall::Error| Error::file(folder, format!("cannot open the log: {error}"));
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
        let builder = Database::builder(folder).worker_threads(1);
        let database = builder.open().map_err(cannot)?;
        let marks = database.keyspace("marks", KeyspaceCreateOptions::default).map_err(cannot)?;
        match marks.get("identity").map_err(cannot)? {
            Some(whose) if *whose != *identity.as_bytes() => {
                let reason = format!(
                    "this log is of another job: its samples are {}, this job's {identity}; name another \
                     --state, or start anew with --fresh",
                    String::from_utf8_lossy(&whose)
                );
                return Err(Error::file(folder, reason));
            }
            Some(_) => {}
            None => marks.insert("identity", identity.as_bytes()).map_err(cannot)?,
        }
        let next = match marks.get("next").map_err(cannot)? {
            Some(bytes) => number(&bytes),
            None => 0,
        };
        let mut segments = BTreeMap::new();
        for name in database.list_keyspace_names() {
            let Some(first) = name.strip_prefix("from-").and_then(|first| first.parse().ok()) else {
                continue;
            };
            let keyspace = database.keyspace(&name, segment_options).map_err(cannot)?;
            let mut bytes = 0;
            for record in keyspace.iter() {
                bytes += u64::from(record.size().map_err(cannot)?);
            }
            let made = std::fs::metadata(keyspace.path()).and_then(|folder| folder.created());
            segments.insert(first, Segment { keyspace, bytes, made: made.unwrap_or(SystemTime::now()) });
        }
        let held: u64 = segments.values().map(|segment| segment.bytes).sum();
        let (requests, inbox) = mpsc::unbounded_channel();
        let log = Self(Arc::new(Inner {
            path: folder.to_path_buf(),
            database,
            marks,
            settings: settings.clone(),
            segments: RwLock::new(segments),
            durable: AtomicU64::new(next),
            room: Semaphore::new(units(settings.max_bytes.saturating_sub(held) as usize) as usize),
            in_flight: Semaphore::new(units(IN_FLIGHT) as usize),
            requests: RwLock::new(Some(requests)),
            writer: RwLock::new(None),
            _temporary: temporary,
        }));
        let writer = Writer { log: Arc::downgrade(&log.0), next };
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || writer.run(inbox));
        let thread = thread.map_err(|error| Error::Engine(format!("cannot start the log: {error}")))?;
        *log.0.writer.write().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(log)
    }

    /// Waits for room, writes `entries` in their order, next to each other, and returns the
    /// sequence number of the first once all are durable. Who waits longest comes first.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<u64> {
        let size = units(entries.iter().map(|entry| entry.payload.len()).sum());
        while self.is_too_old() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let closed = |_| self.fault("it is closed");
        self.0.room.acquire_many(size).await.map_err(closed)?.forget();
        let held = size.min(units(IN_FLIGHT));
        self.0.in_flight.acquire_many(held).await.map_err(closed)?.forget();
        let written = self.send(entries, held)?.await;
        written.map_err(|_| self.fault("it is closed"))?.map_err(|reason| self.fault(&reason))
    }

    /// Writes a few small entries that must not wait for room: labels and decisions. The
    /// receiver gets the sequence number of the first once they are durable.
    pub fn append_now(&self, entries: Vec<Entry>) -> Result<Pending> {
        Ok(Pending { log: self.clone(), done: self.send(entries, 0)? })
    }

    fn send(&self, entries: Vec<Entry>, in_flight: u32) -> Result<oneshot::Receiver<Result<u64, String>>> {
        let (done, receiver) = oneshot::channel();
        let requests = self.0.requests.read().unwrap_or_else(PoisonError::into_inner);
        let request = Request { entries, in_flight, done: Some(done) };
        let sent = requests.as_ref().and_then(|requests| requests.send(request).ok());
        sent.ok_or_else(|| self.fault("it is closed"))?;
        Ok(receiver)
    }

    /// Whether `bytes` would be taken without waiting.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.0.room.available_permits() >= units(bytes) as usize && !self.is_too_old()
    }

    fn is_too_old(&self) -> bool {
        self.0.settings.max_age.is_some_and(|most| self.fill().age > most)
    }

    /// The first sequence number that is not durable yet.
    pub fn durable(&self) -> u64 {
        self.0.durable.load(Ordering::Acquire)
    }

    /// What a mark says.
    pub fn mark(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self.0.marks.get(key).map_err(|error| self.fault(&error.to_string()))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Reads a stream's durable records from `from` on.
    pub fn reader(&self, stream: u16, from: u64) -> Reader {
        Reader { log: self.clone(), stream, from, ahead: VecDeque::new() }
    }

    /// Forgets records before `before`, as far as whole segments go.
    pub fn trim(&self, before: u64) -> Result<()> {
        let gone: Vec<Segment> = {
            let mut segments = self.0.segments.write().unwrap_or_else(PoisonError::into_inner);
            let firsts: Vec<u64> = segments.keys().copied().collect();
            // The newest segment is being written to; another ends where the next begins.
            let whole = firsts.windows(2).filter(|pair| pair[1] <= before).map(|pair| pair[0]);
            whole.filter_map(|first| segments.remove(&first)).collect()
        };
        for segment in gone {
            let deleted = self.0.database.delete_keyspace(segment.keyspace);
            deleted.map_err(|error| self.fault(&error.to_string()))?;
            self.0.room.add_permits(segment.bytes as usize / UNIT);
        }
        Ok(())
    }

    /// How many bytes [`Log::trim`] would free.
    pub fn frees(&self, before: u64) -> u64 {
        let segments = self.0.segments.read().unwrap_or_else(PoisonError::into_inner);
        let ends = segments.keys().skip(1);
        segments.values().zip(ends).filter(|(_, end)| **end <= before).map(|(part, _)| part.bytes).sum()
    }

    /// How full it is.
    pub fn fill(&self) -> Fill {
        let segments = self.0.segments.read().unwrap_or_else(PoisonError::into_inner);
        let oldest = segments.values().find(|segment| segment.bytes > 0);
        Fill {
            bytes: segments.values().map(|segment| segment.bytes).sum(),
            max_bytes: self.0.settings.max_bytes,
            age: oldest.and_then(|segment| segment.made.elapsed().ok()).unwrap_or_default(),
        }
    }

    /// Ends the writer once everything it was given is durable. Later appends fail.
    pub fn close(&self) {
        self.0.requests.write().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.0.writer.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join(); // its panic has been told by the hook
        }
    }

    fn fault(&self, reason: &str) -> Error {
        Error::Engine(format!("the log in {}: {reason}", self.0.path.display()))
    }
}

/// Entries on their way to the disk.
pub struct Pending {
    log: Log,
    done: oneshot::Receiver<Result<u64, String>>,
}

impl Pending {
    /// The sequence number of the first once they are durable; none while they are not.
    pub fn poll(&mut self) -> Result<Option<u64>> {
        match self.done.try_recv() {
            Ok(written) => written.map(Some).map_err(|reason| self.log.fault(&reason)),
            Err(oneshot::error::TryRecvError::Empty) => Ok(None),
            Err(oneshot::error::TryRecvError::Closed) => Err(self.log.fault("it is closed")),
        }
    }

    /// Waits until they are durable.
    pub async fn durable(self) -> Result<u64> {
        let written = self.done.await.map_err(|_| self.log.fault("it is closed"))?;
        written.map_err(|reason| self.log.fault(&reason))
    }
}

/// Reads one stream forward.
pub struct Reader {
    log: Log,
    stream: u16,
    from: u64,
    ahead: VecDeque<(u64, fjall::Slice)>,
}

impl Reader {
    /// The next durable record with its sequence number; none while there is none. Never waits.
    pub fn read(&mut self) -> Result<Option<(u64, fjall::Slice)>> {
        if self.ahead.is_empty() {
            self.read_ahead().map_err(|error| self.log.fault(&error.to_string()))?;
        }
        Ok(self.ahead.pop_front())
    }

    /// No record of the stream before this one is still to be read.
    pub fn position(&self) -> u64 {
        self.ahead.front().map_or(self.from, |(sequence, _)| *sequence)
    }

    fn read_ahead(&mut self) -> fjall::Result<()> {
        let durable = self.log.durable();
        if self.from >= durable {
            return Ok(());
        }
        let segments = self.log.0.segments.read().unwrap_or_else(PoisonError::into_inner);
        let first = segments.range(..=self.from).next_back().map_or(0, |(first, _)| *first);
        let parts: Vec<Keyspace> = segments.range(first..).map(|(_, part)| part.keyspace.clone()).collect();
        drop(segments);
        let mut bytes = 0;
        for part in parts {
            for record in part.range(key(self.stream, self.from)..key(self.stream, durable)) {
                let (key, payload) = record.into_inner()?;
                bytes += payload.len();
                self.from = number(&key[2..]) + 1;
                self.ahead.push_back((self.from - 1, payload));
                if bytes >= READ_AHEAD {
                    return Ok(());
                }
            }
        }
        self.from = durable;
        Ok(())
    }
}

/// The thread that writes.
struct Writer {
    log: std::sync::Weak<Inner>,
    next: u64,
}

impl Writer {
    fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Request>) {
        while let Some(first) = inbox.blocking_recv() {
            let mut group = vec![first];
            let size =
                |request: &Request| request.entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
            let mut bytes = size(&group[0]);
            while bytes < GROUP
                && let Ok(request) = inbox.try_recv()
            {
                bytes += size(&request);
                group.push(request);
            }
            let Some(inner) = self.log.upgrade() else { return };
            let firsts = self.write(&inner, &mut group);
            for (at, request) in group.iter_mut().enumerate() {
                inner.in_flight.add_permits(request.in_flight as usize);
                let written = match &firsts {
                    Ok(firsts) => Ok(firsts[at]),
                    Err(error) => Err(error.to_string()),
                };
                if let Some(done) = request.done.take() {
                    let _ = done.send(written); // who asked may have gone away
                }
            }
        }
    }

    /// Writes a group as one batch and gives the sequence number of each request's first entry.
    fn write(&mut self, inner: &Inner, group: &mut [Request]) -> fjall::Result<Vec<u64>> {
        let mut batch = inner.database.batch();
        let mut next = self.next;
        let mut bytes = 0;
        let segment = self.segment(inner)?;
        let mut firsts = Vec::with_capacity(group.len());
        for request in group {
            firsts.push(next);
            for entry in request.entries.drain(..) {
                bytes += entry.payload.len() as u64;
                batch.insert(&segment, key(entry.stream, next), entry.payload);
                if let Some((key, value)) = entry.mark {
                    batch.insert(&inner.marks, key, value);
                }
                next += 1;
            }
        }
        if next == self.next {
            return Ok(firsts); // nothing but a wait for what came before
        }
        batch.insert(&inner.marks, "next", next.to_be_bytes());
        let mode = match inner.settings.durability {
            Durability::Os => PersistMode::Buffer,
            Durability::Fsync => PersistMode::SyncData,
        };
        batch.durability(Some(mode)).commit()?;
        let mut segments = inner.segments.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut last) = segments.last_entry() {
            last.get_mut().bytes += bytes;
        }
        self.next = next;
        inner.durable.store(next, Ordering::Release);
        Ok(firsts)
    }

    /// The segment that is written to: a new one where the last is full.
    fn segment(&self, inner: &Inner) -> fjall::Result<Keyspace> {
        let most = (inner.settings.max_bytes / 16).clamp(4 << 20, 256 << 20);
        let mut segments = inner.segments.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, last)) = segments.last_key_value() {
            if last.bytes < most {
                return Ok(last.keyspace.clone());
            }
            last.keyspace.rotate_memtable()?;
        }
        let keyspace = inner.database.keyspace(&format!("from-{:020}", self.next), segment_options)?;
        segments.insert(self.next, Segment { keyspace: keyspace.clone(), bytes: 0, made: SystemTime::now() });
        Ok(keyspace)
    }
}

fn segment_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().with_kv_separation(Some(fjall::KvSeparationOptions::default()))
}

/// Records of a stream lie together, in their order.
fn key(stream: u16, sequence: u64) -> Vec<u8> {
    [&stream.to_be_bytes()[..], &sequence.to_be_bytes()].concat()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn units(bytes: usize) -> u32 {
    bytes.div_ceil(UNIT).min(u32::MAX as usize >> 4) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(stream: u16, text: &str) -> Entry {
        Entry { stream, payload: text.as_bytes().to_vec(), mark: None }
    }

    fn read(log: &Log, stream: u16, from: u64) -> Vec<(u64, String)> {
        let mut reader = log.reader(stream, from);
        std::iter::from_fn(|| reader.read().unwrap())
            .map(|(sequence, payload)| (sequence, String::from_utf8(payload.to_vec()).unwrap()))
            .collect()
    }

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn what_is_written_is_read_in_order_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let log = Log::open(folder.path(), "a", &settings).unwrap();
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
        let log = Log::open(folder.path(), "a", &settings).unwrap();
        assert_eq!(log.durable(), 4);
        assert_eq!(read(&log, 0, 0), expected);
        assert_eq!(log.mark(b"client").unwrap().unwrap(), b"7");
        assert_eq!(block(log.append(vec![entry(0, "four")])).unwrap(), 4);
        log.close();
        drop(log);
        let other = Log::open(folder.path(), "b", &settings).err().unwrap().to_string();
        assert!(other.contains("another job"), "{other}");
    }
}
