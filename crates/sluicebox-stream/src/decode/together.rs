//! Encoded samples that are decoded together, on all cores: nearly all that an image costs is its decoder's time.

use crate::decode::api::{DecodeError, Record, Records};
use crate::decode::image::pixels_of;
use crate::decode::options::Options;
use crate::decode::{Kind, open};
use rayon::prelude::*;
use sluicebox_core::error::Error;
use sluicebox_core::sample::Format;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Most samples of a file that are decoded together.
pub const SAMPLES: usize = 256;
/// Bytes, encoded and decoded, from which on no further sample is added to those that are decoded together: many large
/// images would take their memory on each core.
pub const BYTES: u64 = 256 << 20;
/// Most images in files of their own that are decoded together. Each core holds one file while it decodes it.
const FILES: usize = 64;

/// What became of a file with one record.
pub type One = Result<Option<Record>, DecodeError>;

/// Returns the bytes that an image takes, encoded and decoded.
pub fn cost(image: &[u8]) -> u64 {
    // What no image is fails without taking any.
    image.len() as u64 + 4 * pixels_of(image).unwrap_or(0)
}

/// Decodes `count` samples and returns them in order; `decode` gets the number of each.
pub fn decoded<T: Send>(count: usize, decode: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    (0..count).into_par_iter().map(decode).collect()
}

/// Opens a file of any kind.
pub fn opened(path: &Path, format: &Format, options: &Options) -> Result<Box<dyn Records>, DecodeError> {
    open(path, format, options).map_err(|error| {
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
