//! The writer thread of the log: it alone assigns sequence numbers, creates and deletes segments,
//! and accounts for room.

use crate::wal::entry::cost;
use crate::wal::settings::{Durability, LEAST_SEGMENTS, LogSettings};
use crate::wal::shared::{Inner, Request, Write};
use crate::wal::store::{Segment, key, words};
use crate::wal::written::Written;
use fjall::{Keyspace, PersistMode};
use std::ops::Bound::{Excluded, Unbounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// Bytes after which a batch is written even if more requests wait.
const GROUP: u64 = 8 << 20;
/// Maximum number of full segments being flushed to disk while another is written.
const MOVING: usize = 2;

pub(super) struct Writer {
    log: Weak<Inner>,
    next: u64,
    /// Bytes in the log that were written without room.
    over: u64,
    written: Written,
}

impl Writer {
    pub fn new(log: Weak<Inner>, next: u64, over: u64, written: Written) -> Self {
        Self { log, next, over, written }
    }

    /// Serves requests until the log is closed or dropped.
    pub fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Request>) {
        while let Some(first) = inbox.blocking_recv() {
            let (mut group, mut bytes, mut before) = (Vec::new(), 0, 0);
            let mut request = Some(first);
            while let Some(present) = request {
                match present {
                    Request::Write(write) => {
                        bytes += cost(&write.entries);
                        group.push(write);
                    }
                    Request::Trim(at) => before = before.max(at),
                }
                request = if bytes < GROUP { inbox.try_recv().ok() } else { None };
            }
            let Some(inner) = self.log.upgrade() else { return };
            let served = catch_unwind(AssertUnwindSafe(|| self.serve(&inner, group, before)));
            if served.is_err() {
                // The panic hook has reported it. A log without a writer must not look alive.
                inner
                    .fail("its writer failed; start the job again: all acknowledged samples are kept".into());
            }
        }
        if let Some(inner) = self.log.upgrade()
            && let Err(error) = self.end(&inner)
        {
            inner.fail(words(&error));
        }
    }

    /// Makes all of the log durable and notes that, so that a power cut from now on takes nothing.
    fn end(self, inner: &Inner) -> fjall::Result<()> {
        if inner.failed.get().is_some() {
            return Ok(());
        }
        inner.store.sync()?;
        Ok(self.written.close()?)
    }

    /// Trims, writes a group and answers each of its requests.
    fn serve(&mut self, inner: &Inner, mut group: Vec<Write>, before: u64) {
        if inner.failed.get().is_none()
            && let Err(error) = self.trim(inner, before)
        {
            inner.fail(words(&error));
        }
        let firsts = match inner.failed.get() {
            Some(reason) => Err(reason.clone()),
            None => self.write(inner, &mut group).map_err(|error| inner.fail(words(&error))),
        };
        for (at, write) in group.into_iter().enumerate() {
            inner.in_flight.add_permits(write.in_flight as usize);
            inner.held.fetch_sub(write.held, Ordering::AcqRel);
            let first = firsts.as_ref().map(|firsts| firsts[at]).map_err(String::clone);
            let _ = write.done.send(first); // the caller may be gone
        }
    }

    /// Writes a group as one batch; returns the sequence number of each write's first entry.
    fn write(&mut self, inner: &Inner, group: &mut [Write]) -> fjall::Result<Vec<u64>> {
        let mut next = self.next;
        let firsts = group.iter().map(|write| {
            let first = next;
            next += write.entries.len() as u64;
            first
        });
        let firsts: Vec<u64> = firsts.collect();
        if next == self.next {
            return Ok(firsts); // nothing to write: the callers only wait for earlier requests
        }
        let (segment, mut bytes) = self.segment(inner)?;
        let mut batch = inner.store.batch(match inner.settings.durability {
            Durability::Os => PersistMode::Buffer,
            Durability::Fsync => PersistMode::SyncData,
        });
        let mut uninvited = 0;
        for (write, first) in group.iter_mut().zip(&firsts) {
            let size = cost(&write.entries);
            bytes += size;
            if !write.admitted {
                uninvited += size;
            }
            for (sequence, entry) in (*first..).zip(write.entries.drain(..)) {
                batch.insert(&segment, key(entry.stream, sequence), entry.payload);
                if let Some((key, value)) = entry.mark {
                    inner.store.insert_mark(&mut batch, key, value);
                }
            }
        }
        inner.store.insert_progress(&mut batch, &segment, next, bytes);
        batch.commit()?;
        self.written.note(next)?;
        self.over += uninvited - inner.room.forget_permits(uninvited as usize) as u64;
        if let Some(mut last) = inner.segments.write().last_entry() {
            (last.get_mut().bytes, last.get_mut().end) = (bytes, next);
        }
        self.next = next;
        inner.durable.store(next, Ordering::Release);
        Ok(firsts)
    }

    /// Returns the segment to write to and its bytes; starts a new one if the last is full
    /// or old, or numbers were skipped after it.
    fn segment(&self, inner: &Inner) -> fjall::Result<(Keyspace, u64)> {
        let most = inner.settings.segment_bytes();
        let oldest = inner.settings.max_age.map(|age| age / LEAST_SEGMENTS);
        {
            let segments = inner.segments.read();
            if let Some((_, last)) = segments.last_key_value() {
                let is_old = oldest.is_some_and(|most| last.age() > most);
                if last.bytes < most && !is_old && last.end == self.next {
                    return Ok((last.keyspace.clone(), last.bytes));
                }
                inner.store.seal(last)?;
            }
        }
        while moving(inner) > MOVING {
            inner.store.check()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        let segment = inner.store.make_segment(self.next)?;
        let keyspace = segment.keyspace.clone();
        inner.segments.write().insert(self.next, segment);
        Ok((keyspace, 0))
    }

    /// Deletes the segments that end before `before` and releases their room.
    fn trim(&mut self, inner: &Inner, before: u64) -> fjall::Result<()> {
        if before == 0 {
            return Ok(());
        }
        let (mut segments, mut last) = (Vec::new(), 0);
        while let Some((segment, end)) = self.take_oldest(inner, before) {
            segments.push(segment);
            last = end;
        }
        if !segments.is_empty() {
            let freed: u64 = segments.iter().map(|segment| segment.bytes).sum();
            tracing::debug!("trimmed: before={before} segments={} bytes={freed}", segments.len());
            inner.store.delete(segments, last)?;
            let owed = self.over.min(freed);
            self.over -= owed;
            inner.room.add_permits((freed - owed) as usize);
        }
        inner.trimmed.notify_one();
        Ok(())
    }

    /// Removes and returns the oldest segment and its end, if it ends at or before `before`.
    fn take_oldest(&self, inner: &Inner, before: u64) -> Option<(Segment, u64)> {
        let mut segments = inner.segments.write();
        let first = *segments.keys().next()?;
        let end = segments.range((Excluded(first), Unbounded)).next().map_or(self.next, |(next, _)| *next);
        if end <= before { segments.remove(&first).map(|segment| (segment, end)) } else { None }
    }
}

/// Returns the bytes of disk that the segments in memory need: each has a file of its own once it is
/// full.
pub(super) fn bytes_to_flush(settings: &LogSettings) -> u64 {
    (MOVING as u64 + 1) * settings.segment_bytes()
}

/// Returns the number of segments being flushed from memory to disk.
fn moving(inner: &Inner) -> usize {
    let segments = inner.segments.read();
    segments.values().filter(|segment| segment.keyspace.sealed_memtable_count() > 0).count()
}
