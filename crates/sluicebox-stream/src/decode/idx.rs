//! IDX files (Y. LeCun's format): MNIST, Fashion-MNIST and similar sets. The first axis is the
//! samples. The header has at most 255 dimensions, and a sample at most 256 MiB; samples are read one by one.

use crate::decode::api::{DecodeError, Records};
use crate::decode::array::{Array, Number, Samples};
use crate::decode::foreign;
use crate::decode::labels::{Labels, Stored};
use sluicebox_core::sample::Format;
use std::io::Read;

/// Decodes an array into samples of `format`.
pub fn idx(
    input: impl Read + Send + 'static,
    format: &Format,
) -> Result<impl Records + 'static, DecodeError> {
    Samples::new(array(input)?, format)
}

/// Reads the header of an array of any sample shape.
pub fn array<R: Read>(mut input: R) -> Result<Array<R>, DecodeError> {
    let read = head(&mut input).and_then(|(number, dims)| Array::new(input, number, true, dims));
    read.map_err(DecodeError::Broken)
}

/// Reads the header of an array of classes.
pub fn labels<R: Read>(mut input: R) -> Result<Labels<R>, DecodeError> {
    let read =
        head(&mut input).and_then(|(number, dims)| Labels::new(input, Stored::Numbers(number), true, &dims));
    read.map_err(DecodeError::Broken)
}

fn head(input: &mut impl Read) -> Result<(Number, Vec<usize>), String> {
    let mut four = || {
        let mut four = [0; 4];
        input.read_exact(&mut four).map(|()| four).map_err(|_| "too short for an IDX header".to_string())
    };
    let magic = four()?;
    let number = match magic {
        [0, 0, 0x08, _] => Number::Unsigned(1),
        [0, 0, 0x09, _] => Number::Signed(1),
        [0, 0, 0x0b, _] => Number::Signed(2),
        [0, 0, 0x0c, _] => Number::Signed(4),
        [0, 0, 0x0d, _] => Number::Float(4),
        [0, 0, 0x0e, _] => Number::Float(8),
        _ => {
            let wrong =
                || format!("wrong magic number {magic:02x?}: an IDX file starts with two zeros and a type");
            return Err(foreign::reason(&magic).unwrap_or_else(wrong));
        }
    };
    let dims: Result<Vec<usize>, String> =
        (0..magic[3]).map(|_| Ok(u32::from_be_bytes(four()?) as usize)).collect();
    Ok((number, dims?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::{Dtype, Shape, Values};

    fn read(magic: [u8; 4], dims: &[u32], bytes: &[u8], dtype: Dtype) -> Result<Vec<Values>, DecodeError> {
        let dims: Vec<u8> = dims.iter().flat_map(|size| size.to_be_bytes()).collect();
        let shape = Shape::Image { channels: 1, height: 1, width: 2 };
        let format = Format { shape, dtype, scale: 1.0, classes: Vec::new() };
        let file = std::io::Cursor::new([&magic, &dims[..], bytes].concat());
        let mut records = idx(file, &format)?;
        std::iter::from_fn(|| records.next_record().transpose()).map(|record| Ok(record?.values)).collect()
    }

    #[test]
    fn bytes_and_other_numbers() {
        let pixels = read([0, 0, 8, 3], &[2, 1, 2], &[1, 2, 3, 4], Dtype::U8);
        assert_eq!(pixels, Ok(vec![Values::U8(vec![1, 2]), Values::U8(vec![3, 4])]));
        let numbers = read([0, 0, 0x0b, 2], &[1, 2], &[0, 1, 0xff, 0xfe], Dtype::F32);
        assert_eq!(numbers, Ok(vec![Values::F32(vec![1.0, -2.0])]));
        let floats = [1.5f32, -2.0].map(f32::to_be_bytes).concat();
        assert_eq!(
            read([0, 0, 0x0d, 2], &[1, 2], &floats, Dtype::F32),
            Ok(vec![Values::F32(vec![1.5, -2.0])])
        );
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let told =
            |magic, dims: &[u32], bytes: &[u8]| read(magic, dims, bytes, Dtype::U8).unwrap_err().to_string();
        assert!(told([0, 0, 7, 3], &[], &[]).contains("wrong magic number [00, 00, 07, 03]"));
        assert!(told([0, 0, 8, 3], &[1, 1], &[]).contains("too short for an IDX header"));
        assert!(told([0, 0, 8, 3], &[1, 2, 2], &[0; 4]).contains("a sample of 2×2 values instead of 1×1×2"));
        assert!(told([0, 0, 8, 0], &[], &[1]).contains("the array has no dimensions"));
        assert!(told([0, 0, 8, 3], &[9, 1, 2], &[1, 2, 3]).contains("truncated: item 1 of the 9"));
        let huge = [u32::MAX; 255];
        assert!(told([0, 0, 8, 255], &huge, &[1]).contains("a sample of"));
    }
}
