//! Values that come as nested arrays of numbers.

use crate::decode::api::fits;
use crate::decode::numbers;
use sluicebox_core::sample::{Format, Values};

/// Maximum nesting of arrays: `[channels, height, width]`.
const DEEPEST: usize = 3;

/// Values read so far, and their nesting.
pub struct Nested {
    values: Values,
    most: usize,
    /// Length of the arrays at each depth; 0 until one has ended.
    dims: [usize; DEEPEST],
    /// Depth of the numbers.
    leaf: Option<usize>,
}

impl Nested {
    /// Creates an array without values.
    pub fn new(format: &Format) -> Self {
        let most = format.shape.len();
        let mut values = Values::none(format.dtype);
        values.reserve(most);
        Self { values, most, dims: [0; DEEPEST], leaf: None }
    }

    /// Takes a number that is in arrays of this depth.
    pub fn push(&mut self, depth: usize, number: f64) -> Result<(), String> {
        match self.leaf {
            Some(leaf) if leaf == depth => {}
            None if depth > 0 => self.leaf = Some(depth),
            None => return Err("a number where an array of values should be".into()),
            Some(_) => return Err("numbers beside arrays".into()),
        }
        if self.values.len() == self.most {
            return Err(format!("more than {} values", self.most));
        }
        numbers::push(&mut self.values, number)
    }

    /// Checks that arrays may nest below this depth.
    pub fn open(&self, depth: usize) -> Result<(), String> {
        match depth == DEEPEST {
            true => Err(format!("arrays nested more than {DEEPEST} deep")),
            false => Ok(()),
        }
    }

    /// Checks and stores the length of an array at `depth` that ended after `count` items.
    pub fn close(&mut self, depth: usize, count: usize) -> Result<(), String> {
        let known = &mut self.dims[depth];
        match (count, *known) {
            (0, _) => Err("an empty array".into()),
            (count, 0) => {
                *known = count;
                Ok(())
            }
            (count, known) if count == known => Ok(()),
            (count, known) => Err(format!("an array of {count} beside one of {known}")),
        }
    }

    /// Returns the values, if their nesting fits the format's shape.
    pub fn values(self, format: &Format) -> Result<Values, String> {
        fits(format.shape, &self.dims[..self.leaf.unwrap_or(0)]).map(|()| self.values)
    }
}
