//! Arrays of numbers of one type, as in IDX and NPY files after the header. Read sample by sample, and
//! a sample has at most 256 MiB, so that a false header cannot cause a larger allocation.

use crate::decode::api::{DecodeError, Record, Records, fits, told};
use crate::decode::numbers;
use half::f16;
use sluicebox_core::sample::{Dtype, Format, Shape, Values, sample_bytes};
use std::io::Read;

/// Maximum size of one sample in a file, in bytes.
const LARGEST_SAMPLE: usize = 256 << 20;

/// Storage format of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Unsigned integer of this many bytes: 1, 2, 4 or 8.
    Unsigned(usize),
    /// Signed integer of this many bytes: 1, 2, 4 or 8.
    Signed(usize),
    /// IEEE 754 number of this many bytes: 2, 4 or 8.
    Float(usize),
}

impl Number {
    /// Returns the size of one number in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Number::Unsigned(bytes) | Number::Signed(bytes) | Number::Float(bytes) => bytes,
        }
    }

    /// Returns the number in little-endian bytes.
    pub fn value(self, bytes: &[u8]) -> f64 {
        match self {
            Number::Unsigned(_) => unsigned(bytes) as f64,
            Number::Signed(_) => signed(bytes) as f64,
            Number::Float(2) => f16::from_bits(unsigned(bytes) as u16).to_f64(),
            Number::Float(4) => f64::from(float(bytes)),
            Number::Float(_) => double(bytes),
        }
    }

    /// Returns the dtype that suits it best.
    pub fn dtype(self) -> Dtype {
        if self == Number::Unsigned(1) { Dtype::U8 } else { Dtype::F32 }
    }
}

/// An array whose first axis indexes samples.
pub struct Array<R> {
    input: R,
    number: Number,
    big_endian: bool,
    /// Size of each axis.
    pub dims: Vec<usize>,
    /// Number of samples that were read.
    pub item: usize,
    bytes: Vec<u8>,
}

impl<R: Read> Array<R> {
    /// Creates an array of `dims`; `input` must be positioned at its first number. Refuses samples of more
    /// than 256 MiB.
    pub fn new(input: R, number: Number, big_endian: bool, dims: Vec<usize>) -> Result<Self, String> {
        if dims.is_empty() {
            return Err("the array has no dimensions, but the first one must count the samples".into());
        }
        let bytes = dims[1..].iter().try_fold(number.bytes(), |all, size| all.checked_mul(*size));
        if bytes.is_none_or(|bytes| bytes > LARGEST_SAMPLE) {
            let sizes: Vec<String> = dims[1..].iter().take(8).map(usize::to_string).collect();
            let (sizes, most) = (sizes.join("×"), LARGEST_SAMPLE >> 20);
            return Err(format!("a sample of {sizes} values is larger than {most} MiB"));
        }
        Ok(Self { input, number, big_endian, dims, item: 0, bytes: Vec::new() })
    }

    /// Returns the number of samples according to the header.
    pub fn count(&self) -> usize {
        self.dims[0]
    }

    /// Returns the storage format of the numbers.
    pub fn number(&self) -> Number {
        self.number
    }

    /// Checks that the samples have `shape`.
    pub fn check(&self, shape: Shape) -> Result<(), String> {
        match self.dims[1..] {
            [] => fits(shape, &[1]),
            _ => fits(shape, &self.dims[1..]),
        }
    }

    /// Reads the next sample, of `length` numbers; None at the end, behind which there must be nothing else.
    pub fn read(&mut self, dtype: Dtype, length: usize) -> Result<Option<Values>, DecodeError> {
        if self.item == self.count() {
            return match self.input.by_ref().take(1).read_to_end(&mut self.bytes)? {
                0 => Ok(None),
                _ => Err(DecodeError::Broken(format!(
                    "behind its {} items the file goes on, which is not read; write each array to a file of its own",
                    self.item
                ))),
            };
        }
        let (item, count) = (self.item, self.count());
        self.bytes.resize(length * self.number.bytes(), 0);
        self.input.read_exact(&mut self.bytes).map_err(|error| {
            DecodeError::Broken(format!(
                "{}: item {item} of the {count} that the header promises",
                told(&error)
            ))
        })?;
        self.item += 1;
        let mut values = Values::none(dtype);
        values.reserve(length);
        self.convert(&mut values).map_err(|reason| DecodeError::Bad {
            line: self.item as u64,
            reason,
            text: String::new(),
        })?;
        Ok(Some(values))
    }

    fn convert(&mut self, values: &mut Values) -> Result<(), String> {
        let size = self.number.bytes();
        if self.big_endian {
            self.bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        let mut bytes = self.bytes.chunks_exact(size);
        match (self.number, values) {
            (Number::Unsigned(1), Values::U8(values)) => {
                values.extend_from_slice(&self.bytes);
                Ok(())
            }
            (number @ Number::Float(_), values) => {
                bytes.try_for_each(|b| numbers::push(values, number.value(b)))
            }
            (Number::Unsigned(_), values) => {
                bytes.try_for_each(|b| numbers::push_whole(values, unsigned(b).into()))
            }
            (Number::Signed(_), values) => {
                bytes.try_for_each(|b| numbers::push_whole(values, signed(b).into()))
            }
        }
    }
}

/// Samples of an array, checked against a format.
pub(super) struct Samples<R> {
    array: Array<R>,
    format: Format,
}

impl<R: Read> Samples<R> {
    pub(super) fn new(array: Array<R>, format: &Format) -> Result<Self, DecodeError> {
        array.check(format.shape).map_err(DecodeError::Broken)?;
        Ok(Self { array, format: format.clone() })
    }
}

impl<R: Read + Send> Records for Samples<R> {
    fn next_record(&mut self) -> Result<Option<Record>, DecodeError> {
        let values = self.array.read(self.format.dtype, self.format.shape.len())?;
        Ok(values.map(|values| Record { id: None, values, class: None }))
    }
}

/// Converts the little-endian bytes of one sample to its values; refuses NaN and infinity.
pub fn sample_of_bytes(bytes: &[u8], format: &Format) -> Result<Values, String> {
    let wanted = sample_bytes(format);
    if bytes.len() != wanted {
        return Err(format!(
            "{} bytes instead of {wanted} ({} of {})",
            bytes.len(),
            format.shape,
            format.dtype.name()
        ));
    }
    little_endian(format.dtype, bytes)
}

/// Converts little-endian bytes to values of a dtype; refuses NaN and infinity.
pub fn little_endian(dtype: Dtype, bytes: &[u8]) -> Result<Values, String> {
    let mut values = Values::none(dtype);
    values.reserve(bytes.len() / dtype.bytes());
    match &mut values {
        Values::U8(values) => values.extend_from_slice(bytes),
        Values::F32(_) => {
            bytes.chunks_exact(4).try_for_each(|b| numbers::push(&mut values, f64::from(float(b))))?;
        }
    }
    Ok(values)
}

/// Extends up to 8 little-endian bytes to 8 with `fill`.
fn widened(bytes: &[u8], fill: u8) -> [u8; 8] {
    let mut wide = [fill; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    wide
}

fn unsigned(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(widened(bytes, 0))
}

fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    i64::from_le_bytes(widened(bytes, if negative { 0xff } else { 0 }))
}

fn float(bytes: &[u8]) -> f32 {
    f32::from_bits(unsigned(bytes) as u32)
}

fn double(bytes: &[u8]) -> f64 {
    f64::from_bits(unsigned(bytes))
}
