//! The contract of a data set in files, and of what reads its samples in order.

use crate::decode::Run;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;
use sluicebox_core::sample::Values;
use sluicebox_core::sample_id::SampleId;
use std::path::Path;

/// A data set that can be read repeatedly.
pub trait DataSet {
    /// Opens the streamed samples at the first one.
    fn open(&self) -> Result<Box<dyn SampleReader>>;

    /// Opens the samples for evaluation, if the set has any.
    fn open_test(&self) -> Result<Option<Box<dyn SampleReader>>>;

    /// Returns whether the classes of the streamed samples are known.
    fn knows_classes(&self) -> bool {
        true
    }
}

/// A sample of a set.
pub struct Sample {
    /// Its values.
    pub values: Values,
    /// Its class, if known.
    pub class: Option<usize>,
    /// Its id, if it has one.
    pub id: Option<SampleId>,
}

impl Sample {
    /// Creates a sample without an id.
    pub fn new(values: Values, class: Option<usize>) -> Self {
        Self { values, class, id: None }
    }
}

/// A record that is no sample; the next one may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its line or number in the file, from 1; 0 for a whole file.
    pub line: u64,
    /// What is wrong, and what to do.
    pub reason: String,
    /// The record as written; empty if it is not text.
    pub text: String,
}

/// Where a reader is, if it can go there without reading what comes before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Hash of the names of the set's files: a place in other files is none.
    pub files: u64,
    /// Index of the file.
    pub file: u64,
    /// Records of that file that were read, good and bad.
    pub record: u64,
}

/// Forward reader of samples.
pub trait SampleReader {
    /// Returns the number of records, good and bad, if it is known before they are read.
    fn count(&self) -> Option<usize> {
        None
    }

    /// Returns the file of the last record, to name in messages.
    fn file(&self) -> &Path;

    /// Reads the next record; None at the end.
    fn next(&mut self) -> Result<Option<std::result::Result<Sample, Refused>>>;

    /// Appends the samples that come next to `run`, at most `most` and up to the first that cannot be taken along with
    /// others; returns how many. Where there is none, [`SampleReader::next`] says what comes.
    fn next_run(&mut self, _most: usize, _run: &mut Run) -> usize {
        0
    }

    /// Returns where the next record is, for [`SampleReader::go_to`]. By default a reader is read from its start again.
    fn place(&self) -> Option<Place> {
        None
    }

    /// Goes to a place that [`SampleReader::place`] returned.
    fn go_to(&mut self, _place: &Place) -> Result<()> {
        Ok(())
    }
}
