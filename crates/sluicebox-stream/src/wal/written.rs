//! How far the log was written: a small file beside the database, overwritten with every batch. It is not
//! synced, so that no batch waits for it; it outlives the process, and after a restart it tells whether the
//! log has lost its end.

use crate::wal::gaps::Gaps;
use crate::wal::settings::Durability;
use serde::{Deserialize, Serialize};
use sluicebox_core::system::boot_id;
use std::fs::{File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Name of the file in the log's folder.
const NAME: &str = "written";

/// Content of the file, after a CRC-32 of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Content {
    /// First record that was not written.
    next: u64,
    /// Numbers before it that no record has.
    gaps: Gaps,
    /// Whether the log was closed, and all of it synced.
    closed: bool,
    /// Whether each batch was synced before this file named it.
    synced: bool,
    /// Start of the machine in which it was written.
    boot: String,
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        let content = bincode::serialize(self).unwrap_or_default(); // plain data
        [&crc32fast::hash(&content).to_le_bytes()[..], &content].concat()
    }
}

/// What an earlier process has left in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Earlier {
    /// First record that was not written.
    pub next: u64,
    /// Numbers before it that no record has.
    pub gaps: Gaps,
    /// Whether the machine has stopped while the log was open and not synced: further records may have
    /// been written and lost together with what this file said of them.
    pub interrupted: bool,
}

/// The file.
pub(super) struct Written {
    file: File,
    content: Content,
}

impl Written {
    /// Returns what an earlier process has left; None if there is no file. A damaged file says nothing, so more may
    /// have been written.
    pub fn earlier(folder: &Path) -> Option<Earlier> {
        let bytes = std::fs::read(folder.join(NAME)).ok()?;
        let content = bytes.split_first_chunk::<4>().and_then(|(sum, content)| {
            let is_whole = *sum == crc32fast::hash(content).to_le_bytes();
            is_whole.then(|| bincode::deserialize(content).ok()).flatten()
        });
        Some(match content {
            Some(Content { next, gaps, closed, synced, boot }) => {
                Earlier { next, gaps, interrupted: !closed && !synced && boot != boot_id() }
            }
            None => Earlier { next: 0, gaps: Gaps::default(), interrupted: true },
        })
    }

    /// Creates the file, or begins it anew.
    pub fn begin(folder: &Path, next: u64, gaps: Gaps, durability: Durability) -> Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(NAME))?;
        let synced = durability == Durability::Fsync;
        let mut written =
            Self { file, content: Content { next, gaps, closed: false, synced, boot: boot_id() } };
        written.note(next)?;
        written.file.set_len(written.content.bytes().len() as u64)?;
        written.file.sync_all()?;
        File::open(folder)?.sync_all()?;
        Ok(written)
    }

    /// Notes that the records before `next` are written.
    pub fn note(&mut self, next: u64) -> Result<()> {
        self.content.next = next;
        self.file.write_all_at(&self.content.bytes(), 0)
    }

    /// Notes that the log is closed and all of it is synced.
    pub fn close(mut self) -> Result<()> {
        self.content.closed = true;
        self.note(self.content.next)?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_tells_how_far_the_log_was_written_and_whether_the_machine_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert_eq!(Written::earlier(path), None);
        let gaps = Gaps::default().with(2, 4);
        let earlier = |next, interrupted| Some(Earlier { next, gaps, interrupted });
        let mut written = Written::begin(path, 5, gaps, Durability::Os).unwrap();
        assert_eq!(Written::earlier(path), earlier(5, false));
        written.note(1 << 40).unwrap();
        assert_eq!(Written::earlier(path), earlier(1 << 40, false), "the same start of the machine");
        let before = |durability, closed| {
            let mut written = Written::begin(path, 7, gaps, durability).unwrap();
            written.content.boot.replace_range(..1, "-"); // another start of the machine
            if closed { written.close().unwrap() } else { written.note(8).unwrap() }
        };
        before(Durability::Os, false);
        assert_eq!(Written::earlier(path), earlier(8, true));
        before(Durability::Fsync, false);
        assert_eq!(Written::earlier(path), earlier(8, false));
        before(Durability::Os, true);
        assert_eq!(Written::earlier(path), earlier(7, false));
        let mut bytes = std::fs::read(path.join(NAME)).unwrap();
        bytes[6] ^= 1;
        std::fs::write(path.join(NAME), bytes).unwrap();
        let nothing = Earlier { next: 0, gaps: Gaps::default(), interrupted: true };
        assert_eq!(Written::earlier(path), Some(nothing), "a damaged file says nothing");
    }
}
