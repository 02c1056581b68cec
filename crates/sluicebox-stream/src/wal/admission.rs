//! Admission of feeders' entries: one after the other, each waits for room in the log and for free space of the disk.

use crate::wal::entry::{Entry, cost};
use crate::wal::pending::Pending;
use crate::wal::shared::Inner;
use crate::wal::space::LOOK;
use sluicebox_core::error::{Error, Result};
use std::sync::Arc;
use tokio::sync::MutexGuard;
use tokio::time::timeout;

/// Maximum bytes that may wait for the writer at once.
pub(super) const IN_FLIGHT: u32 = 32 << 20;

/// The right to append next. Callers get it in order of arrival, and nobody else appends until it is dropped: who
/// looks at what others have appended, and then appends, comes after that in the log.
pub struct Turn<'log> {
    log: &'log Arc<Inner>,
    _held: MutexGuard<'log, ()>,
}

impl<'log> Turn<'log> {
    /// Waits for the turn.
    pub(super) async fn come(log: &'log Arc<Inner>) -> Self {
        Self { log, _held: log.turn.lock().await }
    }

    /// Returns whether [`Turn::append`] would not wait for room: it passes these entries on, or refuses them as too
    /// many.
    pub fn has_room_for(&self, entries: &[Entry]) -> bool {
        has_room(self.log, cost(entries))
    }

    /// Waits for room and for free space of the disk, and passes `entries` to the writer. The returned [`Pending`]
    /// yields the sequence number of the first once all are durable.
    ///
    /// Fails at once if `entries` exceed half of the log's maximum size: a log that is less than
    /// half full may never be trimmed, so such a wait might not end. A caller that is dropped while
    /// it waits releases the room it held.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<Pending> {
        let log = self.log;
        let size = within_bounds(log, cost(&entries))?;
        while !log.room.is_closed() {
            match (log.space.shortage(), is_too_old(log)) {
                // Other programs may free space, so this looks again by itself.
                (Some(_), _) => _ = timeout(LOOK, log.trimmed.notified()).await,
                (None, true) => log.trimmed.notified().await,
                (None, false) => break,
            }
        }
        let closed = |_| log.closed();
        let room = log.room.acquire_many(size).await.map_err(closed)?;
        let held = size.min(IN_FLIGHT);
        let in_flight = log.in_flight.acquire_many(held).await.map_err(closed)?;
        let written = log.write(entries, true, held, 0)?;
        // The writer has the entries and their permits now.
        room.forget();
        in_flight.forget();
        Ok(Pending::new(log.clone(), written))
    }
}

/// Returns `bytes` if the log can ever admit that many at once.
pub(super) fn within_bounds(log: &Inner, bytes: u64) -> Result<u32> {
    let most = log.settings.most_at_once();
    match u32::try_from(bytes) {
        Ok(size) if bytes <= most => Ok(size),
        _ => Err(Error::request(format!(
            "{bytes} bytes at once are more than the log takes ({most}; it is half of log.max_bytes, up to \
             4 GiB): send less at a time, or give it more"
        ))),
    }
}

/// Returns whether an append of `bytes` would be admitted, or refused as too large, without waiting.
pub(super) fn has_room(log: &Inner, bytes: u64) -> bool {
    within_bounds(log, bytes).is_err() || log.room.available_permits() as u64 >= bytes && !is_too_old(log)
}

fn is_too_old(log: &Inner) -> bool {
    let Some(most) = log.settings.max_age else { return false };
    log.segments.read().values().next().is_some_and(|oldest| oldest.age() > most)
}
