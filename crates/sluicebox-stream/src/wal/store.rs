//! The log on disk, in a fjall database: one keyspace per segment of records, one for marks, and
//! one for the log's own state. fjall's errors are put into words here.

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, OwnedWriteBatch, PersistMode, Slice,
};
use sluicebox_core::error::{Error, Result};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes of the block cache for reads.
const CACHE: u64 = 8 << 20;
/// Bytes of journals at which fjall flushes memtables that are only in the journal.
const JOURNALS: u64 = 64 << 20;
/// Values of fewer bytes are stored among the keys.
const APART: u32 = 1 << 10;

/// Key of the log's state: the first record that was not trimmed.
const OLDEST: &str = "oldest";
/// Beginning of the keys of its segments, and of their keyspaces' names.
const SEGMENT: &str = "from-";
/// Beginning of the keys of numbers that are never given; what follows is the first of them.
const SKIP: &str = "skip-";

/// Beginning of the name of the keyspace that keeps the newest number, which is always empty.
const NEWEST: &str = "newest-";

/// A section of the log that is trimmed as a whole.
pub(super) struct Segment {
    pub keyspace: Keyspace,
    /// Bytes that its records count towards the log's maximum size.
    pub bytes: u64,
    /// First record after its own.
    pub end: u64,
    pub made: SystemTime,
}

impl Segment {
    pub fn age(&self) -> Duration {
        self.made.elapsed().unwrap_or_default()
    }
}

/// The database.
pub(super) struct Store {
    folder: PathBuf,
    database: Database,
    state: Keyspace,
    marks: Keyspace,
}

impl Store {
    /// Opens the database in `folder`, or creates it for `identity`.
    pub fn open(folder: &Path, identity: &str) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, words(&error.into())))?;
        let opened = catch_unwind(AssertUnwindSafe(|| Self::open_whole(folder)));
        // A damaged file can make the library panic.
        let store = opened.unwrap_or_else(|_| Err(Error::file(folder, damaged("it cannot be read"))))?;
        let cannot = |error| Error::file(folder, words(&error));
        match store.state.get("identity").map_err(cannot)? {
            Some(whose) if *whose != *identity.as_bytes() => Err(Error::file(
                folder,
                format!(
                    "this log belongs to another job: its samples are {}, this job's are {identity}; use another \
                     --state, or start anew with --fresh",
                    String::from_utf8_lossy(&whose)
                ),
            )),
            Some(_) => Ok(store),
            None => {
                let mut batch = store.batch(PersistMode::SyncData);
                batch.insert(&store.state, "identity", identity.as_bytes());
                batch.commit().map_err(cannot)?;
                Ok(store)
            }
        }
    }

    /// Opens or creates the database. The library would recreate or delete a missing part, so
    /// missing parts must be detected here. The identity is written last.
    fn open_whole(folder: &Path) -> Result<Self> {
        let cannot = |error: fjall::Error| Error::file(folder, words(&error));
        let missing = || Error::file(folder, damaged("one of its files is missing"));
        clear_unfinished(folder).map_err(|error| cannot(error.into()))?;
        let keyspaces = folder.join("keyspaces");
        if keyspaces.join("1").exists() && !keyspaces.join("0/current").exists() {
            return Err(missing());
        }
        // One journal for all keyspaces; the writer syncs it explicitly.
        let builder = Database::builder(folder).manual_journal_persist(true).worker_threads(1);
        let database = builder.cache_size(CACHE).max_journaling_size(JOURNALS).open().map_err(cannot)?;
        let others = database.keyspace_count();
        let had = ["state", "marks"].map(|name| database.keyspace_exists(name));
        let [state, marks] =
            ["state", "marks"].map(|name| database.keyspace(name, KeyspaceCreateOptions::default));
        let (state, marks) = (state.map_err(cannot)?, marks.map_err(cannot)?);
        let is_made = state.get("identity").map_err(cannot)?.is_some();
        if is_made && had != [true; 2] || !is_made && (others > 2 || had == [false, true]) {
            return Err(missing());
        }
        Ok(Self { folder: folder.to_path_buf(), database, state, marks })
    }

    /// Returns the first record that was not trimmed, or the next one if all were.
    pub fn oldest(&self) -> Result<u64> {
        let oldest = self.state.get(OLDEST).map_err(|error| Error::file(&self.folder, words(&error)))?;
        Ok(oldest.map_or(0, |oldest| number(&oldest)))
    }

    /// Returns the first unused sequence number, and the segments by their first sequence number.
    /// Fails unless all durable records that were not trimmed are there.
    pub fn recover(&self) -> Result<(u64, BTreeMap<u64, Segment>)> {
        let cannot = |error: fjall::Error| Error::file(&self.folder, words(&error));
        let harmed = |reason: String| Err(Error::file(&self.folder, damaged(&reason)));
        let skips: BTreeMap<u64, u64> = self.skips().map_err(cannot)?.into_iter().collect();
        let after_skips = |mut next| {
            while let Some(to) = skips.get(&next) {
                next = *to;
            }
            next
        };
        let mut next = after_skips(self.oldest()?);
        let mut segments = BTreeMap::new();
        for known in self.state.prefix(SEGMENT) {
            let (name, progress) = known.into_inner().map_err(cannot)?;
            let name = String::from_utf8_lossy(&name).into_owned();
            let (Some((first, made)), Some((end, bytes))) = (parse(&name), progress.split_at_checked(8))
            else {
                return harmed(format!("{name:?} is not the name of a segment"));
            };
            let (end, bytes) = (number(end), number(bytes));
            if first != next || !self.database.keyspace_exists(&name) {
                return harmed(format!("records from {next} on are missing"));
            }
            let keyspace = self.database.keyspace(&name, segment_options).map_err(cannot)?;
            let found = keyspace.approximate_len() as u64;
            if first + found != end {
                return harmed(format!("of records {first} to {}, {found} are there", end - 1));
            }
            segments.insert(first, Segment { keyspace, bytes, end, made });
            next = after_skips(end);
        }
        // Its trimming was interrupted, or nothing in it ever became durable.
        let is_left = |name: &str| parse(name).is_some_and(|(first, _)| !segments.contains_key(&first));
        let mut left = self.database.list_keyspace_names();
        left.retain(|name| is_left(name));
        if !left.is_empty() {
            self.keep_newest_number().map_err(cannot)?;
        }
        for name in left {
            let keyspace = self.database.keyspace(&name, segment_options).map_err(cannot)?;
            self.database.delete_keyspace(keyspace).map_err(cannot)?;
        }
        // All segments but the last were being flushed from memory to disk.
        for segment in segments.values().rev().skip(1) {
            segment.keyspace.rotate_memtable().map_err(cannot)?;
        }
        Ok((next, segments))
    }

    /// Creates a segment for records from `first` on. Its folder is on disk when this returns.
    pub fn make_segment(&self, first: u64) -> fjall::Result<Segment> {
        let made = SystemTime::now();
        let keyspace = self.database.keyspace(&name(first, made), segment_options)?;
        if let Some(folder) = keyspace.path().parent() {
            std::fs::File::open(folder)?.sync_all()?;
        }
        Ok(Segment { keyspace, bytes: 0, end: first, made })
    }

    /// Starts flushing a full segment, the log's state and the marks from memory to disk.
    pub fn seal(&self, segment: &Segment) -> fjall::Result<()> {
        segment.keyspace.rotate_memtable()?;
        self.state.rotate_memtable()?;
        self.marks.rotate_memtable()?;
        Ok(())
    }

    /// Fails if any background work has failed.
    pub fn check(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::Buffer)
    }

    /// Makes everything that was written so far durable.
    pub fn sync(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::SyncData)
    }

    /// Never gives the numbers from `next` to `to`; durable when this returns. `is_trimmed` says that records
    /// before `next` were in a checkpoint, which an empty log has to remember.
    pub fn skip(&self, next: u64, to: u64, is_trimmed: bool) -> fjall::Result<()> {
        let mut batch = self.batch(PersistMode::SyncData);
        if is_trimmed && self.state.prefix(SEGMENT).next().is_none() {
            batch.insert(&self.state, OLDEST, to.to_be_bytes());
        } else {
            batch.insert(&self.state, skip_key(next), to.to_be_bytes());
        }
        batch.commit()
    }

    /// Returns the ranges of numbers that are never given: each begins where records end.
    fn skips(&self) -> fjall::Result<Vec<(u64, u64)>> {
        let skips = self.state.prefix(SKIP).map(|skip| {
            let (key, to) = skip.into_inner()?;
            Ok((number(&key[SKIP.len()..]), number(&to)))
        });
        skips.collect()
    }

    /// Deletes the oldest segments and stores the last trimmed record of each of their streams; the records before
    /// `end` are gone then. The library deletes files at once, so that this is synced first: after a power cut, nothing
    /// may name them any more.
    pub fn delete(&self, segments: Vec<Segment>, end: u64) -> fjall::Result<()> {
        let mut last = BTreeMap::new();
        for segment in &segments {
            last.extend(last_of_streams(&segment.keyspace)?);
        }
        let mut batch = self.batch(PersistMode::SyncData);
        last.into_iter().for_each(|(stream, last)| {
            batch.insert(&self.state, gone_key(stream), last.to_be_bytes());
        });
        for (from, _) in self.skips()?.into_iter().filter(|(from, _)| *from < end) {
            batch.remove(&self.state, skip_key(from));
        }
        batch.insert(&self.state, OLDEST, end.to_be_bytes());
        segments.iter().for_each(|segment| batch.remove(&self.state, &**segment.keyspace.name()));
        batch.commit()?;
        if self.state.prefix(SEGMENT).next().is_none() {
            self.keep_newest_number()?;
        }
        segments.into_iter().try_for_each(|segment| self.database.delete_keyspace(segment.keyspace))
    }

    /// Makes an empty keyspace, so that those before it may be deleted. fjall numbers keyspaces by the highest number
    /// that it finds when it opens. If that of a deleted one came again, and a power cut had taken the end of the journal, the
    /// new keyspace could be hidden by what the deletion had written, and the log could not be opened.
    fn keep_newest_number(&self) -> fjall::Result<()> {
        let mut earlier = self.database.list_keyspace_names();
        earlier.retain(|name| name.starts_with(NEWEST));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let newest = self.database.keyspace(&format!("{NEWEST}{now}"), KeyspaceCreateOptions::default)?;
        if let Some(folder) = newest.path().parent() {
            std::fs::File::open(folder)?.sync_all()?;
        }
        for name in earlier {
            let keyspace = self.database.keyspace(&name, KeyspaceCreateOptions::default)?;
            self.database.delete_keyspace(keyspace)?;
        }
        Ok(())
    }

    /// Returns the last record of a stream that was trimmed.
    pub fn last_gone(&self, stream: u16) -> fjall::Result<Option<u64>> {
        Ok(self.state.get(gone_key(stream))?.map(|bytes| number(&bytes)))
    }

    pub fn batch(&self, mode: PersistMode) -> OwnedWriteBatch {
        self.database.batch().durability(Some(mode))
    }

    pub fn insert_mark(&self, batch: &mut OwnedWriteBatch, key: Vec<u8>, value: Vec<u8>) {
        batch.insert(&self.marks, key, value);
    }

    pub fn mark(&self, key: &[u8]) -> fjall::Result<Option<Slice>> {
        self.marks.get(key)
    }

    /// Returns up to `most` marks, in the order of their keys.
    pub fn marks(&self, most: usize) -> fjall::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let marks = self.marks.iter().take(most).map(|mark| {
            let (key, value) = mark.into_inner()?;
            Ok((key.to_vec(), value.to_vec()))
        });
        marks.collect()
    }

    /// Adds to the batch that the segment ends before `end` and holds `bytes`.
    pub fn insert_progress(&self, batch: &mut OwnedWriteBatch, segment: &Keyspace, end: u64, bytes: u64) {
        let progress = [end.to_be_bytes(), bytes.to_be_bytes()].concat();
        batch.insert(&self.state, &**segment.name(), progress);
    }
}

/// Removes the files of an interrupted creation of the database, which hold no data yet.
fn clear_unfinished(folder: &Path) -> std::io::Result<()> {
    let journal = folder.join("0.jnl");
    let kept = std::fs::read_dir(folder.join("keyspaces")).is_ok_and(|mut inside| inside.next().is_some());
    if kept || !journal.exists() {
        return Ok(());
    }
    let mut start = Vec::new();
    std::fs::File::open(&journal)?.take(1 << 10).read_to_end(&mut start)?;
    if start.iter().all(|byte| *byte == 0) {
        std::fs::remove_file(&journal)?;
        std::fs::remove_file(folder.join("version")).or_else(|error| match error.kind() {
            ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
    }
    Ok(())
}

/// Returns each stream that has records in a segment, with its last record.
fn last_of_streams(segment: &Keyspace) -> fjall::Result<Vec<(u16, u64)>> {
    let mut found = Vec::new();
    let mut stream = Some(0);
    while let Some(from) = stream {
        let Some(record) = segment.range(key(from, 0)..).next() else { break };
        let first = record.key()?;
        let this = u16::from_be_bytes([first[0], first[1]]);
        if let Some(record) = segment.range(key(this, 0)..=key(this, u64::MAX)).next_back() {
            found.push((this, number(&record.key()?[2..])));
        }
        stream = this.checked_add(1);
    }
    Ok(found)
}

/// Options of a segment: one table with its values in a separate file. Missing keys are never
/// looked up (no filter), and only the writer decides when the segment is full.
fn segment_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(u64::MAX)
        .filter_policy(fjall::config::FilterPolicy::disabled())
        .with_kv_separation(Some(KvSeparationOptions::default().separation_threshold(APART)))
}

/// Returns the name of a segment's keyspace: its first record and its time of creation.
fn name(first: u64, made: SystemTime) -> String {
    let made = made.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{SEGMENT}{first:020}-{}", made.as_millis())
}

fn parse(name: &str) -> Option<(u64, SystemTime)> {
    let (first, made) = name.strip_prefix(SEGMENT)?.split_once('-')?;
    let made = Duration::from_millis(made.parse().ok()?);
    Some((first.parse().ok()?, SystemTime::UNIX_EPOCH.checked_add(made)?))
}

/// Returns the key of a record; records of one stream are adjacent and in order.
pub(super) fn key(stream: u16, sequence: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&stream.to_be_bytes());
    key[2..].copy_from_slice(&sequence.to_be_bytes());
    key
}

fn skip_key(next: u64) -> Vec<u8> {
    [SKIP.as_bytes(), &next.to_be_bytes()[..]].concat()
}

fn gone_key(stream: u16) -> Vec<u8> {
    [b"gone-", &stream.to_be_bytes()[..]].concat()
}

pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Describes an error and what the user can do about it.
pub(super) fn words(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Locked => {
            return "another process has this log open; stop that process, or use another --state".into();
        }
        fjall::Error::Poisoned => {
            return "a write failed, and the log accepts no more records; check the free space and the health of the \
                    disk, then start the job again: all acknowledged samples are kept"
                .into();
        }
        _ => {}
    }
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let Some(io) = inner.downcast_ref::<std::io::Error>() else {
            source = inner.source();
            continue;
        };
        return match io.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                format!("{io}: free some space, then start the job again: all acknowledged samples are kept")
            }
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => damaged(&io.to_string()),
            ErrorKind::NotFound | ErrorKind::AlreadyExists => damaged("a file of it is missing"),
            _ => io.to_string(),
        };
    }
    damaged(&format!("{error:?}"))
}

fn damaged(reason: &str) -> String {
    format!(
        "the log is damaged ({reason}): restore its folder from a backup; or go on from the newest checkpoint without \
         the log, with --forget-log; or start anew with --fresh, which deletes the checkpoints as well"
    )
}
