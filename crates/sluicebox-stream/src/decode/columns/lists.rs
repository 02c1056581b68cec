//! Samples in columns of lists: lists of one length, within one another at most three deep.

use crate::decode::columns::numbers::Numbers;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::DataType;
use std::ops::Range;

/// Maximum nesting.
const DEEPEST: usize = 3;

/// A column of lists.
pub struct Lists {
    /// From the outermost to the innermost.
    levels: Vec<Level>,
    /// The numbers in all of them.
    pub numbers: Numbers,
    /// Whether these are bytes.
    pub are_bytes: bool,
}

/// Lists that are not within one another.
struct Level {
    extent: Extent,
    nulls: Option<NullBuffer>,
}

enum Extent {
    /// Where the items of each list begin.
    Varying(OffsetBuffer<i32>),
    /// The same for long columns.
    VaryingLong(OffsetBuffer<i64>),
    /// Each has this number of items.
    Fixed(usize),
}

impl Level {
    /// Returns the items of a list.
    fn items(&self, at: usize) -> Range<usize> {
        match &self.extent {
            Extent::Varying(offsets) => offsets[at] as usize..offsets[at + 1] as usize,
            Extent::VaryingLong(offsets) => offsets[at] as usize..offsets[at + 1] as usize,
            Extent::Fixed(length) => at * length..(at + 1) * length,
        }
    }
}

impl Lists {
    /// Takes the lists of a column, of samples of these sizes if they are known; None if it holds none of numbers.
    pub fn of(array: &ArrayRef, sizes: Option<&[usize]>) -> Option<Self> {
        let mut levels = Vec::new();
        let mut array = array.clone();
        loop {
            let (extent, values) = match array.data_type() {
                DataType::List(_) => {
                    let lists = array.as_list_opt::<i32>()?;
                    (Extent::Varying(lists.offsets().clone()), lists.values().clone())
                }
                DataType::LargeList(_) => {
                    let lists = array.as_list_opt::<i64>()?;
                    (Extent::VaryingLong(lists.offsets().clone()), lists.values().clone())
                }
                DataType::FixedSizeList(_, length) => {
                    let lists = array.as_fixed_size_list_opt()?;
                    (Extent::Fixed(usize::try_from(*length).ok()?), lists.values().clone())
                }
                _ => break,
            };
            if levels.len() == DEEPEST {
                return None;
            }
            levels.push(Level { extent, nulls: array.nulls().cloned() });
            array = values;
        }
        // A tensor is one list, in the order of its axes.
        if let Some(sizes @ [first, rest @ ..]) = sizes
            && let [Level { extent: Extent::Fixed(length), .. }] = levels[..]
            && sizes.iter().try_fold(1, |all: usize, size| all.checked_mul(*size)) == Some(length)
        {
            levels[0].extent = Extent::Fixed(*first);
            levels.extend(rest.iter().map(|size| Level { extent: Extent::Fixed(*size), nulls: None }));
        }
        let are_bytes = *array.data_type() == DataType::UInt8;
        Some(Self { levels, numbers: Numbers::of(&*array)?, are_bytes })
    }

    /// Returns the sizes of every sample and where all their numbers are, if the samples of the first `rows` rows are there
    /// and of one size, without a gap between them.
    pub fn alike(&self, rows: usize) -> Option<(Vec<usize>, Range<usize>)> {
        let (mut dims, mut lists) = (Vec::with_capacity(self.levels.len()), 0..rows);
        for level in &self.levels {
            let nulls = level.nulls.as_ref().map(|nulls| nulls.slice(lists.start, lists.len()));
            if lists.is_empty() || nulls.is_some_and(|nulls| nulls.null_count() > 0) {
                return None;
            }
            let first = level.items(lists.start);
            let length = first.len();
            if length == 0 || lists.clone().any(|at| level.items(at).len() != length) {
                return None;
            }
            dims.push(length);
            lists = first.start..first.start + length * lists.len();
        }
        Some((dims, lists))
    }

    /// Returns the sizes of the sample in a row and where its numbers are.
    pub fn sample(&self, row: usize) -> Result<(Vec<usize>, Range<usize>), String> {
        let mut dims = Vec::with_capacity(self.levels.len());
        let mut lists = row..row + 1;
        for level in &self.levels {
            let mut within = lists.clone();
            if within.any(|at| level.nulls.as_ref().is_some_and(|nulls| nulls.is_null(at))) {
                return Err("the list of its values is missing".into());
            }
            let first = level.items(lists.start);
            let length = first.len();
            if let Some(other) = lists.clone().map(|at| level.items(at).len()).find(|other| *other != length)
            {
                return Err(format!("a list of {other} beside one of {length}"));
            }
            if length == 0 {
                return Err("an empty list".into());
            }
            dims.push(length);
            lists = first.start..first.start + length * lists.len();
        }
        Ok((dims, lists))
    }
}
