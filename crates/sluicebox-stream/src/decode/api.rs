//! The contract of a decoder: records, the reasons why there is none, and the checks that all decoders share.

use crate::decode::run::Run;
use sluicebox_core::sample::{Shape, Values};
use sluicebox_core::sample_id::{AFTER_GIVEN_IDS, GIVEN_IDS, SampleId, is_given};

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Id, if the record has one.
    pub id: Option<SampleId>,
    /// Values, in the format's dtype and shape.
    pub values: Values,
    /// Class as written, if given: a name, or a number in digits. [`class`](crate::decode::class) returns its index; if
    /// the format names its classes, it is one of them.
    pub class: Option<String>,
}

/// Reason why no record was decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// The record is bad; the next one may be readable.
    Bad {
        /// Line, or record number in a file without lines, from 1.
        line: u64,
        /// Description of the problem and its remedy.
        reason: String,
        /// Record as written, shortened if long; empty if it is not text.
        text: String,
    },
    /// Nothing more can be read.
    Broken(String),
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DecodeError::Bad { line, reason, .. } => write!(f, "line {line}: {reason}"),
            DecodeError::Broken(reason) => f.write_str(reason),
        }
    }
}

impl From<std::io::Error> for DecodeError {
    fn from(error: std::io::Error) -> Self {
        DecodeError::Broken(told(&error))
    }
}

/// Returns the text of an error of a file or another input.
pub(super) fn told(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the file is truncated".into(),
        _ => error.to_string(),
    }
}

/// Forward reader of records. What one record may take, in memory and in time, is bounded whatever the input
/// holds; each decoder says by what.
///
/// ```
/// use sluicebox_core::sample::{Dtype, Format, Shape, Values};
/// use sluicebox_stream::decode::{DecodeError, Keys, Records, ndjson};
///
/// let classes = vec!["cat".to_string(), "dog".to_string()];
/// let format = Format { shape: Shape::Vector { features: 2 }, dtype: Dtype::F32, scale: 1.0, classes };
/// let file = "[1, 2]\nnonsense\n{\"values\": [3, 4], \"label\": \"dog\"}\n";
/// let mut records = ndjson(file.as_bytes(), &format, Keys::default());
///
/// assert_eq!(records.next_record()?.map(|record| record.values), Some(Values::F32(vec![1.0, 2.0])));
/// assert!(matches!(records.next_record(), Err(DecodeError::Bad { line: 2, .. })));
/// assert_eq!(records.next_record()?.and_then(|record| record.class).as_deref(), Some("dog"));
/// assert!(records.next_record()?.is_none());
/// # Ok::<(), DecodeError>(())
/// ```
pub trait Records: Send {
    /// Returns the next record; None at the end. After [`DecodeError::Bad`] the following one can be
    /// read.
    fn next_record(&mut self) -> Result<Option<Record>, DecodeError>;

    /// Appends the records that come next to `run`, at most `most` and up to the first that cannot be taken along with
    /// others; returns how many. Where there is none, [`Records::next_record`] says what comes.
    fn next_run(&mut self, _most: usize, _run: &mut Run) -> usize {
        0
    }

    /// Passes over records that were read before, good and bad. By default by reading them.
    fn skip(&mut self, records: u64) -> Result<(), DecodeError> {
        for read in 0..records {
            match self.next_record() {
                Ok(Some(_)) | Err(DecodeError::Bad { .. }) => {}
                Ok(None) => return Err(fewer(read, records)),
                Err(broken) => return Err(broken),
            }
        }
        Ok(())
    }
}

/// Says that a file has fewer records than were read of it before.
pub(super) fn fewer(found: u64, before: u64) -> DecodeError {
    DecodeError::Broken(format!(
        "{before} records were read of this file before, but it has only {found} now"
    ))
}

/// Returns an id if samples may have it.
pub fn chosen(id: SampleId) -> Result<SampleId, String> {
    match is_given(id.key) {
        false => Ok(id),
        true => Err(format!(
            "id {id} is not for feeders to choose: those from {GIVEN_IDS} to {} are given to samples without one",
            AFTER_GIVEN_IDS - 1
        )),
    }
}

/// Checks the dimensions of one sample: flat, equal to the shape, or without the channel axis if
/// there is one channel only.
pub(super) fn fits(shape: Shape, dims: &[usize]) -> Result<(), String> {
    let whole: Vec<usize> = shape.batch(1)[1..].iter().map(|size| *size as usize).collect();
    let flat = dims.len() == 1 && dims[0] == shape.len();
    if flat || dims == whole || (whole[0] == 1 && dims == &whole[1..]) {
        return Ok(());
    }
    let hint = match (whole[..].as_ref(), dims) {
        ([channels, height, width], dims) if dims == [*height, *width, *channels] => {
            "; put the channels first"
        }
        _ => "",
    };
    match dims {
        [count] => Err(format!("{count} values instead of {} ({shape})", shape.len())),
        _ => {
            let sizes: Vec<String> = dims.iter().map(usize::to_string).collect();
            Err(format!("a sample of {} values instead of {shape}{hint}", sizes.join("×")))
        }
    }
}
