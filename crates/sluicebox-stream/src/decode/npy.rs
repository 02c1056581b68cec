//! NumPy's array format, versions 1 to 3 (NEP 1): C order; the first axis indexes samples.
//!
//! The parser of the header takes exponential time in nested brackets, so it only sees a header of at most
//! 4 KiB with the two brackets that an array of plain numbers has. Samples are read one by one.

use crate::decode::api::{DecodeError, Records, told};
use crate::decode::array::{Array, Number, Samples};
use crate::decode::foreign;
use crate::decode::labels::{Labels, Stored};
use npyz::{DType, Endianness, NpyFile, Order, TypeChar, TypeStr};
use sluicebox_core::sample::{Format, Values};
use std::io::{Cursor, Read};

/// Maximum length of a header, in bytes; real ones have a few hundred.
const LONGEST_HEADER: u64 = 1 << 12;
/// Opening brackets in the header of an array of plain numbers: that of the dictionary and that of the shape.
const BRACKETS: usize = 2;
const RECORDS: &str = "the array holds records, or its header is damaged; plain numbers are needed";

/// Decodes an array into samples of `format`.
pub fn npy(
    input: impl Read + Send + 'static,
    format: &Format,
) -> Result<impl Records + 'static, DecodeError> {
    Samples::new(array(input)?, format)
}

/// Decodes an array that is one sample of `format`.
pub fn sample(bytes: &[u8], format: &Format) -> Result<Values, String> {
    let mut input = bytes;
    let read = head(&mut input).and_then(|head| {
        let dims = [&[1], &head.dims[..]].concat();
        let mut array = numbers(&mut input, Head { dims, ..head })?;
        array.check(format.shape).map_err(DecodeError::Broken)?;
        array.read(format.dtype, format.shape.len())
    });
    match read {
        Ok(Some(values)) if input.is_empty() => Ok(values),
        Ok(_) => Err(format!("{} bytes follow the array", input.len())),
        Err(DecodeError::Bad { reason, .. } | DecodeError::Broken(reason)) => Err(reason),
    }
}

/// Reads the header of an array that is one sample of any shape.
pub fn one<R: Read>(mut input: R) -> Result<Array<R>, DecodeError> {
    let head = head(&mut input)?;
    let dims = [&[1], &head.dims[..]].concat();
    numbers(input, Head { dims, ..head })
}

/// Reads the header of an array of any sample shape.
pub fn array<R: Read>(mut input: R) -> Result<Array<R>, DecodeError> {
    let head = head(&mut input)?;
    numbers(input, head)
}

fn numbers<R: Read>(input: R, Head { kind, dims }: Head) -> Result<Array<R>, DecodeError> {
    let Some(number) = number(&kind) else {
        let reason = format!("numbers of type {kind}; integers of 1 to 8 bytes, <f2, <f4 or <f8 are needed");
        return Err(DecodeError::Broken(reason));
    };
    Array::new(input, number, kind.endianness() == Endianness::Big, dims).map_err(DecodeError::Broken)
}

/// Reads the header of an array of classes.
pub fn labels<R: Read>(mut input: R) -> Result<Labels<R>, DecodeError> {
    let Head { kind, dims } = head(&mut input)?;
    let length = usize::try_from(kind.size_field()).unwrap_or(usize::MAX);
    let stored = match kind.type_char() {
        TypeChar::UnicodeStr => Some(Stored::Wide(length)),
        TypeChar::ByteStr => Some(Stored::Narrow(length)),
        _ => number(&kind).map(Stored::Numbers),
    };
    let stored = stored.ok_or_else(|| {
        DecodeError::Broken(format!("labels of type {kind}; numbers or texts (<U8, |S8) are needed"))
    })?;
    Labels::new(input, stored, kind.endianness() == Endianness::Big, &dims).map_err(DecodeError::Broken)
}

/// What a header says of an array.
struct Head {
    kind: TypeStr,
    dims: Vec<usize>,
}

fn head(input: &mut impl Read) -> Result<Head, DecodeError> {
    let header = header(input)
        .map_err(|error| DecodeError::Broken(format!("the NPY header cannot be read: {}", told(&error))))?;
    if header.iter().filter(|byte| b"([{".contains(byte)).count() > BRACKETS {
        return Err(DecodeError::Broken(RECORDS.into()));
    }
    let file = NpyFile::new(Cursor::new(header))
        .map_err(|error| DecodeError::Broken(format!("the NPY header cannot be read: {error}")))?;
    let header = file.header();
    if header.order() != Order::C {
        let reason = "the array is in Fortran order; save numpy.ascontiguousarray(…) of it";
        return Err(DecodeError::Broken(reason.into()));
    }
    let DType::Plain(kind) = header.dtype() else {
        return Err(DecodeError::Broken(RECORDS.into()));
    };
    let dims = header.shape().iter().map(|size| usize::try_from(*size).unwrap_or(usize::MAX)).collect();
    Ok(Head { kind, dims })
}

fn number(kind: &TypeStr) -> Option<Number> {
    let bytes = kind.num_bytes().unwrap_or(0);
    match (kind.type_char(), bytes) {
        (TypeChar::Bool, 1) => Some(Number::Signed(1)), // 0 and 1 are numbers, not pixels
        (TypeChar::Uint, 1 | 2 | 4 | 8) => Some(Number::Unsigned(bytes)),
        (TypeChar::Int, 1 | 2 | 4 | 8) => Some(Number::Signed(bytes)),
        (TypeChar::Float, 2 | 4 | 8) => Some(Number::Float(bytes)),
        _ => None,
    }
}

/// Reads the header's bytes, up to the length that it states.
fn header(input: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut header = vec![0; 10];
    input.read_exact(&mut header)?;
    if !header.starts_with(b"\x93NUMPY") {
        let other = foreign::reason(&header).unwrap_or_else(|| "it does not begin with \\x93NUMPY".into());
        return Err(std::io::Error::other(other));
    }
    let wide = header[6] >= 2;
    let mut length = u64::from(header[8]) | u64::from(header[9]) << 8;
    if wide {
        let mut rest = [0; 2];
        input.read_exact(&mut rest)?;
        length |= u64::from(rest[0]) << 16 | u64::from(rest[1]) << 24;
        header.extend(rest);
    }
    if length > LONGEST_HEADER {
        let reason = format!("it claims to have {length} bytes, but at most {LONGEST_HEADER} are read");
        return Err(std::io::Error::other(reason));
    }
    let got = input.take(length).read_to_end(&mut header)?;
    match got as u64 == length {
        true => Ok(header),
        false => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::api::Record;
    use sluicebox_core::sample::{Dtype, Shape};

    /// Returns an array as NumPy writes it.
    fn file(version: u8, kind: &str, order: bool, dims: &str, bytes: &[u8]) -> Vec<u8> {
        let order = if order { "True" } else { "False" };
        let mut text = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': ({dims}), }}");
        text += &" ".repeat(63 - (text.len() + 10) % 64);
        text += "\n";
        let length = match version {
            1 => (text.len() as u16).to_le_bytes().to_vec(),
            _ => (text.len() as u32).to_le_bytes().to_vec(),
        };
        [b"\x93NUMPY".as_slice(), &[version, 0], &length, text.as_bytes(), bytes].concat()
    }

    /// Returns an array whose header has `new` in place of `old`.
    fn changed(old: &str, new: &str) -> Vec<u8> {
        let mut bytes = file(1, "|u1", false, "1, 2", &[1, 2]);
        let at = bytes.windows(old.len()).position(|part| part == old.as_bytes()).unwrap();
        bytes.splice(at..at + old.len(), new.bytes());
        let length = (bytes.len() - 12) as u16; // without magic, version, length and the two values
        bytes[8..10].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    fn read(bytes: Vec<u8>, shape: Shape, dtype: Dtype) -> Result<Vec<Values>, DecodeError> {
        let format = Format { shape, dtype, scale: 1.0, classes: Vec::new() };
        let mut records = npy(Cursor::new(bytes), &format)?;
        let mut all = Vec::new();
        while let Some(Record { values, id: None, class: None }) = records.next_record()? {
            all.push(values);
        }
        Ok(all)
    }

    const TWO: Shape = Shape::Vector { features: 2 };

    #[test]
    fn numbers_of_every_type_and_version() {
        let le = |values: [f64; 4]| values.map(|v| v.to_le_bytes()).concat();
        let whole = vec![Values::F32(vec![1.0, 200.0]), Values::F32(vec![3.0, 0.0])];
        for (version, kind, bytes) in [
            (1, "|u1", vec![1, 200, 3, 0]),
            (2, "<u2", vec![1, 0, 200, 0, 3, 0, 0, 0]),
            (3, ">i4", vec![0, 0, 0, 1, 0, 0, 0, 200, 0, 0, 0, 3, 0, 0, 0, 0]),
            (1, "<i8", [1i64, 200, 3, 0].map(i64::to_le_bytes).concat()),
            (1, ">f4", [1f32, 200.0, 3.0, 0.0].map(f32::to_be_bytes).concat()),
            (1, "<f8", le([1.0, 200.0, 3.0, 0.0])),
            (1, "<f2", [0x3c00u16, 0x5a40, 0x4200, 0].map(u16::to_le_bytes).concat()),
            (1, ">f2", [0x3c00u16, 0x5a40, 0x4200, 0].map(u16::to_be_bytes).concat()),
        ] {
            assert_eq!(
                read(file(version, kind, false, "2, 2", &bytes), TWO, Dtype::F32).unwrap(),
                whole,
                "{kind}"
            );
            let pixels = read(file(version, kind, false, "2, 2", &bytes), TWO, Dtype::U8).unwrap();
            assert_eq!(pixels, [Values::U8(vec![1, 200]), Values::U8(vec![3, 0])], "{kind}");
        }
        let negative = read(file(1, "|i1", false, "1, 2", &[0xff, 0x80]), TWO, Dtype::F32).unwrap();
        assert_eq!(negative, [Values::F32(vec![-1.0, -128.0])]);
        let grey = Shape::Image { channels: 1, height: 1, width: 2 };
        for dims in ["2, 1, 2", "2, 1, 1, 2", "2, 2"] {
            assert_eq!(read(file(1, "|u1", false, dims, &[1, 2, 3, 4]), grey, Dtype::U8).unwrap().len(), 2);
        }
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let broken = |bytes: Vec<u8>, says: &str| {
            let Err(DecodeError::Broken(reason)) = read(bytes, TWO, Dtype::U8) else { panic!("{says}") };
            assert!(reason.contains(says), "{reason}");
        };
        broken(b"hello".to_vec(), "the NPY header cannot be read: the file is truncated");
        broken(vec![7; 200], "the NPY header cannot be read: it does not begin");
        broken(file(1, "|u1", true, "1, 2", &[1, 2]), "Fortran order");
        broken(changed("'|u1'", "[('a', '|u1'), ('b', '<f4')]"), "holds records");
        broken(file(1, "<c8", false, "1, 2", &[0; 16]), "numbers of type <c8");
        broken(file(1, "<U2", false, "1, 2", &[0; 16]), "numbers of type <U2");
        broken(file(1, "|u1", false, "1, 3", &[1, 2, 3]), "3 values instead of 2");
        broken(file(1, "|u1", false, "", &[1]), "the array has no dimensions");
        // A header that promises missing data, and a header that is itself missing.
        broken(
            file(1, "|u1", false, "99999999999999, 2", &[1, 2, 3]),
            "truncated: item 1 of the 99999999999999",
        );
        broken(b"\x93NUMPY\x02\0\xff\xff\xff\xff{".to_vec(), "it claims to have 4294967295 bytes");
        let huge = "1, 18446744073709551615, 18446744073709551615";
        broken(file(1, "|u1", false, huge, &[1]), "a sample of");
    }

    #[test]
    fn a_header_of_nested_brackets_costs_nothing() {
        // Of the parser of Python literals each of these would take ages: every level doubles its work.
        for (open, close) in [("[", "]"), ("{1:", "}"), ("(", ",)"), ("{", "}"), ("[']',[", "]]")] {
            let nested = format!("{}1{}", open.repeat(40), close.repeat(40));
            let shape = changed("(1, 2)", &nested);
            let began = std::time::Instant::now();
            let Err(DecodeError::Broken(reason)) = read(shape, TWO, Dtype::U8) else { panic!("{open}") };
            assert!(reason.contains("its header is damaged"), "{reason}");
            assert!(began.elapsed() < std::time::Duration::from_secs(30), "{open}");
        }
    }

    #[test]
    fn a_number_that_the_dtype_cannot_hold_spoils_its_sample_only() {
        let format = Format { shape: TWO, dtype: Dtype::U8, scale: 1.0, classes: Vec::new() };
        let bytes = file(1, "<i2", false, "3, 2", &[1, 0, 2, 0, 3, 0, 0, 1, 5, 0, 6, 0]);
        let mut records = npy(Cursor::new(bytes), &format).unwrap();
        assert!(records.next_record().unwrap().is_some());
        let Err(DecodeError::Bad { line: 2, reason, .. }) = records.next_record() else { panic!() };
        assert!(
            reason.contains("value 1 is 256: dtype u8 holds only whole numbers from 0 to 255"),
            "{reason}"
        );
        assert_eq!(records.next_record().unwrap().unwrap().values, Values::U8(vec![5, 6]));
        assert_eq!(records.next_record(), Ok(None));
        let exact = (1i64 << 24) + 1;
        let fault = read(
            file(1, "<i8", false, "1, 1", &exact.to_le_bytes()),
            Shape::Vector { features: 1 },
            Dtype::F32,
        );
        assert!(format!("{fault:?}").contains("16777217, which f32 cannot hold exactly"));
        let nan = f64::NAN.to_le_bytes();
        let fault = read(file(1, "<f8", false, "1, 1", &nan), Shape::Vector { features: 1 }, Dtype::F32);
        assert!(format!("{fault:?}").contains("NaN; values must be finite"));
    }
}
