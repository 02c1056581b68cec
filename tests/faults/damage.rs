//! Finds the parts of a job's files, and takes away what a power loss or a bad disk would.

use crate::fed_job::Place;
use crate::shim::Trace;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The end of each batch in a journal of the log's database.
const BATCH_END: &[u8] = b"FJL\x03";

/// How bytes are lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// The file ends earlier.
    Cut,
    /// The bytes are zero.
    Zero,
}

/// Returns the journals of the log, the oldest first.
pub fn journals(place: &Place) -> Vec<(u64, PathBuf)> {
    let number = |path: &Path| path.file_name()?.to_str()?.strip_suffix(".jnl")?.parse().ok();
    let entries = std::fs::read_dir(place.log()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<(u64, PathBuf)> = entries.filter_map(|path| Some((number(&path)?, path))).collect();
    found.sort();
    found
}

/// Returns where the batches of a journal end.
pub fn boundaries(journal: &Path) -> Vec<u64> {
    let mut bytes = Vec::new();
    File::open(journal).unwrap().take(8 << 20).read_to_end(&mut bytes).unwrap();
    let found = bytes.windows(BATCH_END.len()).enumerate().filter(|(_, window)| *window == BATCH_END);
    found.map(|(at, _)| (at + BATCH_END.len()) as u64).collect()
}

/// Returns the journal that is being written and where its last batch ends.
pub fn end_of_log(place: &Place) -> (u64, u64) {
    let (number, path) = journals(place).pop().unwrap();
    (number, boundaries(&path).pop().unwrap_or_default())
}

/// Returns the checkpoints by step, the oldest first.
pub fn checkpoints(place: &Place) -> Vec<(u64, PathBuf)> {
    let step = |path: &Path| path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok();
    let entries = std::fs::read_dir(place.state()).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut found: Vec<(u64, PathBuf)> = entries.filter_map(|path| Some((step(&path)?, path))).collect();
    found.sort();
    found
}

/// Takes away what a file has from a byte on.
pub fn lose(path: &Path, from: u64, loss: Loss) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    let bytes = file.metadata().unwrap().len();
    match loss {
        Loss::Cut => file.set_len(from.min(bytes)).unwrap(),
        Loss::Zero => {
            // Zeros beyond the last batch of a journal are there already.
            let most = bytes.saturating_sub(from).min(8 << 20);
            file.seek(SeekFrom::Start(from)).unwrap();
            file.write_all(&vec![0; most as usize]).unwrap();
        }
    }
}

/// Takes away what was not synced, of all files but `but`.
pub fn lose_unsynced(trace: &Trace, loss: Loss, but: Option<&Path>) {
    let lost = trace.unsynced.iter().filter(|(path, _)| path.is_file() && Some(path.as_path()) != but);
    lost.for_each(|(path, from)| lose(path, *from, loss));
}

/// Replaces the folder `to` by a copy of `from`.
pub fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    let status = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status();
    assert!(status.unwrap().success());
}
