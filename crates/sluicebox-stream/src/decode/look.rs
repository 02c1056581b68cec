//! What a file says of its samples before any is read.

use crate::decode::api::DecodeError;
use crate::decode::array::Array;
use crate::decode::axes::{Axes, Layout};
use sluicebox_core::sample::{Dtype, Shape};

/// What is known of the samples in a file.
pub struct Look {
    /// Their shape and type, or why these are not known.
    pub sample: Result<(Shape, Dtype), String>,
    /// Names of the classes by number, if the file lists them.
    pub classes: Option<Vec<String>>,
    /// What was decided about columns; empty if there are none.
    pub told: String,
}

impl Look {
    /// Returns what is known of a file without columns.
    pub fn plain(sample: Result<(Shape, Dtype), String>) -> Self {
        Self { sample, classes: None, told: String::new() }
    }

    /// Returns what the header of an array says.
    pub fn of_array<R: std::io::Read>(array: Result<Array<R>, DecodeError>) -> Self {
        Self::plain(array.map_err(|error| error.to_string()).and_then(|array| {
            let dims = &array.dims[1..];
            if dims.contains(&0) {
                return Err(format!("its samples are of {dims:?}: they have no values"));
            }
            let axes = Axes::of(dims, Layout::Auto, false).ok().filter(|axes| !axes.channels_are_last());
            axes.map(|axes| (axes.shape, array.number().dtype())).ok_or_else(|| {
                format!(
                    "its samples are of {dims:?}, but channels must come first; the source npy moves them"
                )
            })
        }))
    }
}
