//! Encoded samples that are decoded together, on all cores: nearly all that an image costs is its decoder's time.

use crate::decode::api::{DecodeError, Record};
use crate::decode::class_name::class;
use crate::decode::image::pixels_of;
use crate::decode::run::Run;
use rayon::prelude::*;
use std::collections::VecDeque;

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

/// Moves records from the front of `ready` to `run`, at most `most` and up to a bad one; returns how many.
pub fn take(
    ready: &mut VecDeque<Result<Record, DecodeError>>,
    most: usize,
    run: &mut Run,
    classes: &[String],
) -> usize {
    let good = ready.iter().take(most).take_while(|record| record.is_ok()).count();
    for Record { id, values, class: name } in ready.drain(..good).flatten() {
        run.push(&values, name.and_then(|name| class(classes, &name).ok()), id);
    }
    good
}
