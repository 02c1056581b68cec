//! Arrays of classes, one for each sample: numbers or texts. A label has at most 1 KiB; labels are read one by one.

use crate::decode::api::{DecodeError, told};
use crate::decode::array::Number;
use crate::decode::class_name;
use crate::decode::missing::{is_missing, missing_markers};
use std::io::Read;

/// Maximum size of a label in a file, in bytes.
const LONGEST: usize = 1 << 10;
/// Largest whole number that no other one is rounded to.
const LARGEST: f64 = (1u64 << 53) as f64;

/// How labels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// As numbers; -1 and NaN are no class.
    Numbers(Number),
    /// As texts of so many characters of 4 bytes, filled up with zeros.
    Wide(usize),
    /// As texts of so many bytes, filled up with zeros.
    Narrow(usize),
}

impl Stored {
    fn bytes(self) -> usize {
        match self {
            Stored::Numbers(number) => number.bytes(),
            Stored::Wide(characters) => characters.saturating_mul(4),
            Stored::Narrow(bytes) => bytes,
        }
    }
}

/// An array of classes.
pub struct Labels<R> {
    input: R,
    stored: Stored,
    big_endian: bool,
    count: usize,
    /// Labels that were read.
    read: usize,
    bytes: Vec<u8>,
    /// Says which texts are no class.
    markers: Vec<String>,
}

impl<R: Read> Labels<R> {
    /// Creates an array of `dims`; `input` must be positioned at its first label.
    pub fn new(input: R, stored: Stored, big_endian: bool, dims: &[usize]) -> Result<Self, String> {
        let [count, rest @ ..] = dims else {
            return Err("the array has no dimensions, but the first one must count the classes".into());
        };
        if rest.iter().any(|size| *size != 1) {
            return Err(format!("its shape is {dims:?}, but each sample has one class"));
        }
        if stored.bytes() > LONGEST || stored.bytes() == 0 {
            return Err(format!("a label of {} bytes; from 1 to {LONGEST} are read", stored.bytes()));
        }
        Ok(Self {
            input,
            stored,
            big_endian,
            count: *count,
            read: 0,
            bytes: Vec::new(),
            markers: missing_markers(),
        })
    }

    /// Returns the number of labels according to the header.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns how labels are stored.
    pub fn stored(&self) -> Stored {
        self.stored
    }

    /// Returns the number of labels that were read.
    pub fn read(&self) -> usize {
        self.read
    }

    /// Reads the next label as a text: a whole number has no fraction. None if the sample has no class.
    pub fn next_label(&mut self) -> Result<Option<String>, DecodeError> {
        let (item, count) = (self.read, self.count);
        if item == count {
            return Err(DecodeError::Broken(format!(
                "there is no label after the {count} that the header promises"
            )));
        }
        self.bytes.resize(self.stored.bytes(), 0);
        self.input.read_exact(&mut self.bytes).map_err(|error| {
            DecodeError::Broken(format!(
                "{}: item {item} of the {count} that the header promises",
                told(&error)
            ))
        })?;
        self.read += 1;
        self.text().map_err(|reason| DecodeError::Broken(format!("the label of item {item} {reason}")))
    }

    fn text(&mut self) -> Result<Option<String>, String> {
        let number = match self.stored {
            Stored::Numbers(number) => {
                if self.big_endian {
                    self.bytes.reverse();
                }
                number.value(&self.bytes)
            }
            Stored::Wide(_) => {
                let characters = self.bytes.as_chunks::<4>().0.iter();
                let big = self.big_endian;
                let code = |c: &[u8; 4]| if big { u32::from_be_bytes(*c) } else { u32::from_le_bytes(*c) };
                let text: Option<String> =
                    characters.map(code).take_while(|code| *code != 0).map(char::from_u32).collect();
                return Ok(self.named(&text.ok_or("is no text")?));
            }
            Stored::Narrow(_) => {
                let text = self.bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                return Ok(self.named(std::str::from_utf8(text).map_err(|_| "is no UTF-8 text")?));
            }
        };
        match number {
            number if number == -1.0 || number.is_nan() => Ok(None),
            number if number.fract() == 0.0 && number.abs() <= LARGEST => {
                Ok(Some((number as i64).to_string()))
            }
            number => Err(format!("is {number}: a class is a whole number or a text")),
        }
    }

    /// Returns a name of a class, unless it says that there is none.
    fn named(&self, text: &str) -> Option<String> {
        (!is_missing(&self.markers, text.as_bytes())).then(|| class_name::shown(text).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn all(
        stored: Stored,
        big_endian: bool,
        count: usize,
        bytes: &[u8],
    ) -> Vec<Result<Option<String>, String>> {
        let mut labels = Labels::new(Cursor::new(bytes.to_vec()), stored, big_endian, &[count, 1]).unwrap();
        (0..count).map(|_| labels.next_label().map_err(|fault| fault.to_string())).collect()
    }

    #[test]
    fn numbers_and_texts_of_every_kind() {
        let class = |text: &str| Ok(Some(text.to_string()));
        let number = Stored::Numbers;
        assert_eq!(all(number(Number::Unsigned(1)), true, 2, &[7, 255]), [class("7"), class("255")]);
        assert_eq!(all(number(Number::Signed(2)), true, 2, &[1, 0, 255, 255]), [class("256"), Ok(None)]);
        let floats: Vec<u8> = [2.0f64, f64::NAN, 2.5].iter().flat_map(|x| x.to_le_bytes()).collect();
        let found = all(number(Number::Float(8)), false, 3, &floats);
        assert_eq!(found[..2], [class("2"), Ok(None)]);
        assert!(found[2].as_ref().unwrap_err().contains("the label of item 2 is 2.5"));
        let wide: Vec<u8> = "bee\0ne\0\0\0\0\0\0".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
        assert_eq!(all(Stored::Wide(4), false, 3, &wide), [class("bee"), class("ne"), Ok(None)]);
        let big: Vec<u8> = "eel\0".chars().flat_map(|c| (c as u32).to_be_bytes()).collect();
        assert_eq!(all(Stored::Wide(4), true, 1, &big), [class("eel")]);
        assert_eq!(all(Stored::Narrow(3), false, 2, b"antNA\0"), [class("ant"), Ok(None)]);
        assert!(all(Stored::Narrow(2), false, 1, b"\xff\xfe")[0].as_ref().unwrap_err().contains("UTF-8"));
        assert!(
            all(Stored::Narrow(2), false, 2, b"abc")[1].as_ref().unwrap_err().contains("truncated: item 1")
        );
    }

    #[test]
    fn what_is_no_array_of_classes_is_told() {
        let told = |stored, dims: &[usize]| Labels::new(Cursor::new([]), stored, false, dims).err().unwrap();
        assert!(told(Stored::Numbers(Number::Unsigned(1)), &[9, 3]).contains("each sample has one class"));
        assert!(told(Stored::Numbers(Number::Unsigned(1)), &[]).contains("no dimensions"));
        assert!(told(Stored::Wide(usize::MAX), &[9]).contains("from 1 to 1024 are read"));
    }
}
