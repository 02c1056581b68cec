//! Images in files of their own, of which all cores decode the next ones together.

use crate::decode::together::decoded;
use crate::decode::{self, DecodeError, Kind, Options, Record, Records};
use sluicebox_core::error::Error;
use sluicebox_core::sample::Format;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Most files that are decoded together. Each core holds one while it decodes it.
const FILES: usize = 64;

/// What became of a file with one record.
pub type One = Result<Option<Record>, DecodeError>;

/// Opens a file of any kind.
pub fn opened(path: &Path, format: &Format, options: &Options) -> Result<Box<dyn Records>, DecodeError> {
    decode::open(path, format, options).map_err(|error| {
        DecodeError::Broken(match error {
            Error::File { reason, .. } => reason,
            other => other.to_string(),
        })
    })
}

/// Decodes the first of `paths`, as far as they are images.
pub fn images(paths: impl Iterator<Item = PathBuf>, format: &Format, options: &Options) -> VecDeque<One> {
    let paths: Vec<PathBuf> =
        paths.take(FILES).take_while(|path| Kind::of(path) == Some(Kind::Image)).collect();
    decoded(paths.len(), |at| opened(&paths[at], format, options)?.next_record()).into()
}

/// Returns what was decoded of a file as its records.
pub fn once(decoded: One) -> Box<dyn Records> {
    Box::new(Once(Some(decoded)))
}

struct Once(Option<One>);

impl Records for Once {
    fn next_record(&mut self) -> One {
        self.0.take().unwrap_or(Ok(None))
    }
}
