//! Encoded samples that are decoded together, on all cores: nearly all that an image costs is its decoder's time.

use crate::decode::image::pixels_of;
use rayon::prelude::*;

/// Most samples of a file that are decoded together.
pub const SAMPLES: usize = 256;
/// Bytes, encoded and decoded, from which on no further sample is added to those that are decoded together: many large
/// images would take their memory on each core.
pub const BYTES: u64 = 256 << 20;

/// Returns the bytes that an image takes, encoded and decoded.
pub fn cost(image: &[u8]) -> u64 {
    // What no image is fails without taking any.
    image.len() as u64 + 4 * pixels_of(image).unwrap_or(0)
}

/// Decodes `count` samples and returns them in order; `decode` gets the number of each.
pub fn decoded<T: Send>(count: usize, decode: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    (0..count).into_par_iter().map(decode).collect()
}
