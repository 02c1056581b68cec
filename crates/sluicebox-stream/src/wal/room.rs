//! Room in the log for entries that do not wait, such as labels.

use crate::wal::shared::Inner;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Room for entries that are about to be written; dropping it gives the room back.
pub struct Room {
    log: Arc<Inner>,
    bytes: u64,
}

impl Room {
    /// Takes `bytes` of room, unless the log would pass one and a half times its maximum size. Samples
    /// stop at the maximum size, so labels find room in a log that is full of samples.
    pub(super) fn take(log: &Arc<Inner>, bytes: u64) -> Option<Self> {
        let max_bytes = log.settings.max_bytes;
        let before = log.held.fetch_add(bytes, Ordering::AcqRel);
        let room = Self { log: log.clone(), bytes };
        let written: u64 = log.segments.read().values().map(|segment| segment.bytes).sum();
        let admitted = max_bytes.saturating_sub(log.room.available_permits() as u64);
        let most = max_bytes.saturating_add(max_bytes / 2);
        // Another attempt that is refused may count for a moment: this one is then refused too early,
        // never too late.
        (written.max(admitted) + before + bytes <= most).then_some(room)
    }

    /// Hands the room to the writer, which gives it back once the entries are written.
    pub(super) fn hand_over(mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.log.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
