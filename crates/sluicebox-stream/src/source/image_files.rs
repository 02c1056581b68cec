//! Files that are read one after the other. Of images in files of their own all cores decode the next ones together.

use crate::decode::together::decoded;
use crate::decode::{self, DecodeError, Kind, Options, Record, Records};
use sluicebox_core::error::Error;
use sluicebox_core::sample::Format;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Most files that are decoded together. Each core holds one while it decodes it.
const FILES: usize = 64;

/// What became of a file with one record.
type One = Result<Option<Record>, DecodeError>;

/// The images that were decoded together, of the files that come next.
#[derive(Default)]
pub struct ImageFiles(VecDeque<One>);

impl ImageFiles {
    /// Opens the file at `path` behind its first `skipped` records; `coming` are the files from this one on.
    pub fn open(
        &mut self,
        path: &Path,
        skipped: u64,
        coming: impl Iterator<Item = PathBuf>,
        format: &Format,
        options: &Options,
    ) -> Result<Box<dyn Records>, DecodeError> {
        if skipped == 0 && self.0.is_empty() {
            let images = coming.take(FILES).take_while(|path| Kind::of(path) == Some(Kind::Image));
            let images: Vec<PathBuf> = images.collect();
            self.0 = decoded(images.len(), |at| opened(&images[at], format, options)?.next_record()).into();
        }
        let mut records = match self.0.pop_front() {
            Some(decoded) => Box::new(Once(Some(decoded))),
            None => opened(path, format, options)?,
        };
        records.skip(skipped)?;
        Ok(records)
    }

    /// Forgets what was decoded: another file comes next.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

fn opened(path: &Path, format: &Format, options: &Options) -> Result<Box<dyn Records>, DecodeError> {
    decode::open(path, format, options).map_err(|error| {
        DecodeError::Broken(match error {
            Error::File { reason, .. } => reason,
            other => other.to_string(),
        })
    })
}

/// The record of a file that was decoded before.
struct Once(Option<One>);

impl Records for Once {
    fn next_record(&mut self) -> One {
        self.0.take().unwrap_or(Ok(None))
    }
}
