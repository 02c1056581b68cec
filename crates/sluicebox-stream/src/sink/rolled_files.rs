//! A file that grows line by line, and the full files before it: `PATH.1`, `PATH.2`, …

use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes at the end of an extent by which its lines are known again.
const LAST_BYTES: u64 = 1 << 10;

/// Extent of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Extent {
    /// Number of the newest full file; 0: none.
    pub full: u64,
    /// Bytes in the file that is being written.
    pub bytes: u64,
}

/// Paths of the files.
pub struct RolledFiles {
    /// The file that is being written.
    pub path: PathBuf,
}

impl RolledFiles {
    /// Returns an error about the file that is being written.
    pub fn fault(&self, error: std::io::Error) -> Error {
        Error::file(&self.path, format!("cannot write predictions: {error}"))
    }

    /// Returns the folder of the files.
    pub fn folder(&self) -> &Path {
        let parent = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    /// Opens the file that is being written; returns it with its size in bytes.
    pub fn open(&self) -> Result<(File, u64)> {
        self.append().map_err(|error| self.fault(error))
    }

    /// Like [`RolledFiles::open`], with the error of the file system itself.
    pub fn append(&self) -> std::io::Result<(File, u64)> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(&self.path)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    /// Returns the path of a full file.
    pub fn full(&self, number: u64) -> PathBuf {
        named(&self.path, &number.to_string())
    }

    /// Returns the numbers of all full files.
    pub fn numbers(&self) -> Result<Vec<u64>> {
        let stem = self.path.file_name().unwrap_or_default().to_string_lossy();
        let number = |name: String| name.strip_prefix(&*stem)?.strip_prefix('.')?.parse().ok();
        let entries = std::fs::read_dir(self.folder()).map_err(|error| self.fault(error))?;
        Ok(entries.flatten().filter_map(|entry| number(entry.file_name().into_string().ok()?)).collect())
    }

    /// Deletes a full file.
    pub fn remove(&self, number: u64) -> Result<()> {
        std::fs::remove_file(self.full(number)).map_err(|error| self.fault(error))
    }

    /// Truncates the files to extent `then`, even if the file that was being written has been
    /// renamed since. Returns that file and its remaining bytes.
    pub fn go_back(&self, then: Extent) -> Result<(File, u64)> {
        let (written, mut later) = (then.full + 1, self.numbers()?);
        later.retain(|number| *number > then.full);
        if later.contains(&written) {
            // This was the file being written.
            std::fs::rename(self.full(written), &self.path).map_err(|error| self.fault(error))?;
            later.retain(|number| *number != written);
        } else if !later.is_empty() {
            // It was deleted like other old full files; all remaining ones were written later.
            std::fs::remove_file(&self.path).map_err(|error| self.fault(error))?;
        }
        later.into_iter().try_for_each(|number| self.remove(number))?;
        let (file, found) = self.open()?;
        let bytes = if found < then.bytes { whole_lines(&file, found) } else { then.bytes };
        file.set_len(bytes).map_err(|error| self.fault(error))?;
        Ok((file, bytes))
    }

    /// Returns whether what is there goes on from extent `then`, whose last lines have the checksum `last` (None: it
    /// is not known). Files that were deleted or shortened since do.
    pub fn goes_on(&self, then: Extent, last: Option<u32>) -> Result<bool> {
        if then == Extent::default() {
            return self.is_empty();
        }
        let renamed = self.full(then.full + 1);
        let written = if renamed.exists() { &renamed } else { &self.path };
        let found = std::fs::metadata(written).map_or(0, |file| file.len());
        if last.is_none() || found < then.bytes {
            return Ok(true);
        }
        let file = File::open(written).map_err(|error| self.fault(error))?;
        Ok(last_lines(&file, then.bytes) == last)
    }

    fn is_empty(&self) -> Result<bool> {
        let found = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        Ok(found == 0 && self.numbers()?.is_empty())
    }

    /// Renames the files, if there is anything in them, so that other lines can take their place.
    pub fn set_aside(&self) -> Result<()> {
        if self.is_empty()? {
            return Ok(());
        }
        let names = (1..).map(|count: u64| named(&self.path, &format!("aside-{count}")));
        let Some(aside) = names.into_iter().find(|name| !name.exists()) else { return Ok(()) };
        let rename = |from: &Path, to: &Path| std::fs::rename(from, to).map_err(|error| self.fault(error));
        for number in self.numbers()? {
            rename(&self.full(number), &named(&aside, &number.to_string()))?;
        }
        rename(&self.path, &aside)?;
        let (path, aside) = (self.path.display(), aside.display());
        tracing::warn!("{path} had lines that are not of this state: they are in {aside} now");
        Ok(())
    }
}

/// Returns `path` with `.name` after it.
fn named(path: &Path, name: &str) -> PathBuf {
    let mut whole = path.to_path_buf().into_os_string();
    whole.push(format!(".{name}"));
    whole.into()
}

/// Returns the bytes of the whole lines among the first `bytes` of a file that somebody has shortened: what follows them
/// is a part of a line.
fn whole_lines(file: &File, bytes: u64) -> u64 {
    let mut block = [0; LAST_BYTES as usize];
    let mut end = bytes;
    while end > 0 {
        let begin = end.saturating_sub(LAST_BYTES);
        let part = &mut block[..(end - begin) as usize];
        if file.read_exact_at(part, begin).is_err() {
            return 0; // it shrinks still
        }
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return begin + at as u64 + 1;
        }
        end = begin;
    }
    0
}

/// Returns a checksum of the last lines of the first `bytes` of a file; None if they cannot be read, because somebody
/// has shortened it.
pub fn last_lines(file: &File, bytes: u64) -> Option<u32> {
    let length = bytes.min(LAST_BYTES);
    let mut last = vec![0; length as usize];
    file.read_exact_at(&mut last, bytes - length).ok()?;
    Some(crc32fast::hash(&last))
}
