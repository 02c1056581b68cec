//! State that the handles, the readers and the writer of a log share.

use crate::wal::entry::Entry;
use crate::wal::settings::LogSettings;
use crate::wal::space::Space;
use crate::wal::store::{Segment, Store, words};
use parking_lot::RwLock;
use sluicebox_core::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::sync::{Mutex, Notify, Semaphore, mpsc, oneshot};

/// Request to the writer.
pub enum Request {
    /// Writes entries.
    Write(Write),
    /// Deletes records before this one.
    Trim(u64),
}

/// Entries to be written together.
pub struct Write {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Whether room was acquired for it.
    pub admitted: bool,
    /// In-flight bytes that it holds.
    pub in_flight: u32,
    /// Bytes of room that were taken for it without waiting.
    pub held: u64,
    /// Receives the sequence number of the first entry.
    pub done: oneshot::Sender<Result<u64, String>>,
}

/// The open log, as its handles, its readers and its writer share it.
pub struct Inner {
    /// Folder of the log.
    pub path: PathBuf,
    /// The database.
    pub store: Store,
    /// Settings of the log.
    pub settings: LogSettings,
    /// Segments by their first sequence number. Only the writer changes them.
    pub segments: RwLock<BTreeMap<u64, Segment>>,
    /// First sequence number that is not durable.
    pub durable: AtomicU64,
    /// Held by the append whose turn it is; appends are admitted in order of arrival.
    pub turn: Mutex<()>,
    /// Bytes that may still be admitted.
    pub room: Semaphore,
    /// Bytes that may still wait for the writer.
    pub in_flight: Semaphore,
    /// Bytes of room that were taken without waiting, and are not written yet.
    pub held: AtomicU64,
    /// Free space of the disk.
    pub space: Space,
    /// Notified after each trim.
    pub trimmed: Notify,
    /// Reason of the failure after which nothing can be written.
    pub failed: OnceLock<String>,
    /// Queue of the writer; None once the log is closed.
    pub requests: RwLock<Option<mpsc::UnboundedSender<Request>>>,
    /// The thread that writes.
    pub writer: RwLock<Option<JoinHandle<()>>>,
    /// Folder that is removed at the end, in a temporary log.
    pub _temporary: Option<tempfile::TempDir>,
}

impl Inner {
    /// Passes entries to the writer; see [`Write`].
    pub fn write(
        &self,
        entries: Vec<Entry>,
        admitted: bool,
        in_flight: u32,
        held: u64,
    ) -> Result<oneshot::Receiver<Result<u64, String>>> {
        let (done, receiver) = oneshot::channel();
        self.send(Request::Write(Write { entries, admitted, in_flight, held, done }))?;
        Ok(receiver)
    }

    /// Passes a request to the writer.
    pub fn send(&self, request: Request) -> Result<()> {
        let requests = self.requests.read();
        let sent = requests.as_ref().and_then(|requests| requests.send(request).ok());
        sent.ok_or_else(|| self.closed())
    }

    /// Refuses further appends, including those that wait.
    pub fn refuse(&self) {
        self.room.close();
        self.in_flight.close();
        self.trimmed.notify_one();
    }

    /// Marks the log as failed and returns the reason; the first reason stays.
    pub fn fail(&self, reason: String) -> String {
        let reason = self.failed.get_or_init(|| reason).clone();
        self.refuse();
        reason
    }

    /// Returns the first sequence number that is not durable yet.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Returns the error of a call to the database.
    pub fn fault_of(&self, error: &fjall::Error) -> Error {
        self.fault(&words(error))
    }

    /// Returns an error of this log.
    pub fn fault(&self, reason: &str) -> Error {
        Error::Log { path: self.path.clone(), reason: reason.to_string() }
    }

    /// Returns the error of a request to a log that is closed or has failed.
    pub fn closed(&self) -> Error {
        self.fault(self.failed.get().map_or("it is closed", String::as_str))
    }
}
