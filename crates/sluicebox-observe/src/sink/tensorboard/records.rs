//! A file of records, each with length and checksums and written at once. A record that was
//! interrupted is at the end of its file, where readers stop.

use crate::sink::tensorboard::proto::{Event, What};
use prost::Message;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::fs::append;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// A file that is being written.
pub struct Records {
    path: PathBuf,
    file: File,
}

impl Records {
    /// Creates a new file in `folder`, and the folder if necessary. Readers sort files by name, so
    /// the time `now_ms` comes first.
    pub fn create(folder: &Path, now_ms: u64) -> Result<Self> {
        let cannot = |error| Error::file(folder, format!("cannot write events for TensorBoard: {error}"));
        std::fs::create_dir_all(folder).map_err(cannot)?;
        let path = folder.join(format!("events.out.tfevents.{now_ms:013}.{}", std::process::id()));
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(cannot)?;
        let mut records = Self { path, file };
        let version = What::FileVersion("brain.Event:2".into());
        records.write(&Event { wall_time: now_ms as f64 / 1000.0, step: 0, what: Some(version) })?;
        Ok(records)
    }

    /// Appends an event.
    pub fn write(&mut self, event: &Event) -> Result<()> {
        let record = record(&event.encode_to_vec());
        append(&mut self.file, &record).map_err(|error| Error::file(&self.path, error))
    }
}

/// Encodes length · checksum of the length · data · checksum of the data.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), data, &masked(data)].concat()
}

/// Returns a masked CRC-32C: the data may itself contain checksums.
fn masked(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_known_ones() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // The beginning of every file that TensorFlow writes: 24 bytes follow.
        assert_eq!(masked(&24u64.to_le_bytes()), [0xa3, 0x7f, 0x4b, 0x22]);
    }

    #[test]
    fn a_record_is_framed_by_its_length_and_two_checksums() {
        let framed = record(b"abc");
        assert_eq!(framed.len(), 8 + 4 + 3 + 4);
        assert_eq!(framed[..8], 3u64.to_le_bytes());
        assert_eq!(framed[12..15], *b"abc");
        assert_eq!(framed[15..], masked(b"abc"));
    }
}
