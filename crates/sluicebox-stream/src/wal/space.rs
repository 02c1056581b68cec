//! Free space of the file system that holds the log, against what a job needs to go on.

use parking_lot::Mutex;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Interval at which the free space is read.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// Free bytes below which no record is written: one that cannot be written ends the job.
const FULL: u64 = 4 << 20;

/// Less space is free than the job needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Free bytes.
    pub free: u64,
    /// Bytes that the next two checkpoints and the log's newest segments need.
    pub needed: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "the disk has {:.1} MB free, but the next two checkpoints and the log need {:.1} MB",
            mb(self.free),
            mb(self.needed)
        )
    }
}

/// Reads the free bytes of the file system of a folder.
pub(super) type ReadFree = Box<dyn Fn(&Path) -> std::io::Result<u64> + Send + Sync>;

/// Free space against need. Whoever asks causes a look, at most one per [`LOOK`].
pub(super) struct Space {
    folder: PathBuf,
    read: ReadFree,
    /// Bytes that the segments of the log need that are still in memory.
    segments: u64,
    /// Bytes that the next two checkpoints need.
    checkpoints: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    at: Option<Instant>,
    /// None where it cannot be read.
    free: Option<u64>,
    short: Option<Shortage>,
    unreadable: bool,
}

impl Space {
    pub fn new(folder: &Path, segments: u64, read: ReadFree) -> Self {
        Self {
            folder: folder.to_path_buf(),
            read,
            segments,
            checkpoints: AtomicU64::new(0),
            seen: Mutex::default(),
        }
    }

    /// Sets the size of the next checkpoint.
    pub fn expect_checkpoint(&self, bytes: u64) {
        self.checkpoints.store(bytes.saturating_mul(2), Ordering::Relaxed);
    }

    /// Returns the shortage, if there is one. Says when it begins and when it ends: once an eighth more
    /// than needed is free.
    pub fn shortage(&self) -> Option<Shortage> {
        self.look().0
    }

    /// Returns whether there may be no space for even a few records.
    pub fn is_full(&self) -> bool {
        self.look().1.is_some_and(|free| free < FULL)
    }

    fn look(&self) -> (Option<Shortage>, Option<u64>) {
        let mut seen = self.seen.lock();
        if seen.at.is_none_or(|at| at.elapsed() >= LOOK) {
            seen.at = Some(Instant::now());
            self.read(&mut seen);
        }
        (seen.short, seen.free)
    }

    fn read(&self, seen: &mut Seen) {
        seen.free = match (self.read)(&self.folder) {
            Ok(free) => Some(free),
            Err(error) => {
                if !std::mem::replace(&mut seen.unreadable, true) {
                    let folder = self.folder.display();
                    tracing::warn!("the free space of {folder} cannot be read, and is not watched: {error}");
                }
                None
            }
        };
        let needed = self.segments.saturating_add(self.checkpoints.load(Ordering::Relaxed));
        let before = seen.short;
        let enough = if before.is_some() { needed.saturating_add(needed / 8) } else { needed };
        seen.short = seen.free.filter(|free| *free < enough).map(|free| Shortage { free, needed });
        match (before, seen.short) {
            (None, Some(shortage)) => {
                tracing::warn!(
                    "feeders are held back: {shortage}; free some space, and they go on (below {} MiB the job \
                     itself waits)",
                    FULL >> 20
                );
            }
            (Some(_), None) => tracing::info!("feeders go on: the disk has enough free space again"),
            _ => {}
        }
    }
}

/// Returns the bytes of a folder's file system that this process may still use. Fails where the file system
/// does not say.
pub(super) fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    if found.f_blocks == 0 {
        return Err(std::io::ErrorKind::Unsupported.into());
    }
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_shortage_begins_below_the_need_and_ends_above_it() {
        let free = Arc::new(AtomicU64::new(0));
        let read = free.clone();
        let space = Space::new(Path::new("."), 2 << 20, Box::new(move |_| Ok(read.load(Ordering::Relaxed))));
        space.expect_checkpoint(7 << 20);
        let short = |bytes: u64| {
            free.store(bytes, Ordering::Relaxed);
            space.seen.lock().at = None;
            space.shortage()
        };
        assert_eq!(short(16 << 20), None);
        assert_eq!(short((16 << 20) - 1), Some(Shortage { free: (16 << 20) - 1, needed: 16 << 20 }));
        assert!(!space.is_full());
        assert!(short(17 << 20).is_some(), "it does not begin and end all the time");
        assert!(short(1 << 20).is_some() && space.is_full());
        assert_eq!(short(18 << 20), None);
        free.store(0, Ordering::Relaxed);
        assert_eq!(space.shortage(), None, "the disk is not asked each time");
    }

    #[test]
    fn free_space_that_cannot_be_read_holds_nobody_back() {
        let space = Space::new(Path::new("."), 1, Box::new(|_| Err(std::io::ErrorKind::Other.into())));
        assert_eq!(space.shortage(), None);
        assert!(!space.is_full());
    }

    #[test]
    fn a_real_file_system_has_free_space() {
        assert!(free_bytes(&std::env::temp_dir()).unwrap() > 0);
        assert!(free_bytes(Path::new("/no/such/folder")).is_err());
    }
}
