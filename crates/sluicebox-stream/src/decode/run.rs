//! Good records that follow one another, as whole arrays: what a file of columns gives without a step for each of its rows.

use sluicebox_core::sample::{Dtype, Values};
use sluicebox_core::sample_id::SampleId;

/// Samples of one format, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Their values.
    pub values: Values,
    /// Index of the class of each, if known.
    pub classes: Vec<Option<usize>>,
    /// Id of each, if it has one.
    pub ids: Vec<Option<SampleId>>,
}

impl Run {
    /// Creates an empty run.
    pub fn none(dtype: Dtype) -> Self {
        Self { values: Values::none(dtype), classes: Vec::new(), ids: Vec::new() }
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Returns whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Takes all samples out and keeps the room.
    pub fn clear(&mut self) {
        match &mut self.values {
            Values::U8(values) => values.clear(),
            Values::F32(values) => values.clear(),
        }
        self.classes.clear();
        self.ids.clear();
    }

    /// Adds a sample; `class` is the index of its class.
    pub fn push(&mut self, values: &Values, class: Option<usize>, id: Option<SampleId>) {
        self.values.extend_from(values, 0..values.len());
        self.classes.push(class);
        self.ids.push(id);
    }
}
