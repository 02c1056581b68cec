//! Binary files of CIFAR-10 and CIFAR-100 (A. Krizhevsky, 2009): one or two label bytes, then 32×32
//! pixels in red, green and blue planes. Every record has the same size, and they are read one by one.

use crate::decode::api::{DecodeError, Record, Records, fits, told};
use crate::decode::class_name::known;
use crate::decode::numbers;
use sluicebox_core::sample::{Format, Shape};
use std::io::{BufRead, Read};

/// Shape of an image.
pub const SHAPE: Shape = Shape::Image { channels: 3, height: 32, width: 32 };
const PIXELS: usize = 3 * 32 * 32;

/// Label bytes of a record, and the label to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The 10 classes of CIFAR-10.
    Ten,
    /// The 20 superclasses of CIFAR-100.
    Coarse,
    /// The 100 classes of CIFAR-100.
    Fine,
}

impl Layout {
    /// Returns the layout of a set with this many classes.
    pub fn of(classes: usize) -> Layout {
        match classes {
            20 => Layout::Coarse,
            100 => Layout::Fine,
            _ => Layout::Ten,
        }
    }

    /// Returns the size of one record in bytes.
    pub fn bytes(self) -> usize {
        self.label_bytes() + PIXELS
    }

    fn label_bytes(self) -> usize {
        if self == Layout::Ten { 1 } else { 2 }
    }
}

/// Reads one record: its class and its pixels.
pub fn read(input: &mut impl Read, layout: Layout) -> std::io::Result<(u8, Vec<u8>)> {
    let mut labels = [0; 2];
    input.read_exact(&mut labels[..layout.label_bytes()])?;
    let mut pixels = vec![0; PIXELS];
    input.read_exact(&mut pixels)?;
    Ok((if layout == Layout::Fine { labels[1] } else { labels[0] }, pixels))
}

struct Cifar<R> {
    input: R,
    format: Format,
    layout: Layout,
    record: u64,
}

/// Decodes a file of CIFAR-10, or of CIFAR-100 if the format has 20 or 100 classes.
pub fn cifar(
    input: impl BufRead + Send + 'static,
    format: &Format,
) -> Result<impl Records + 'static, DecodeError> {
    fits(format.shape, &[3, 32, 32]).map_err(DecodeError::Broken)?;
    let layout = Layout::of(format.classes.len());
    Ok(Cifar { input, format: format.clone(), layout, record: 0 })
}

impl<R: BufRead + Send> Records for Cifar<R> {
    fn next_record(&mut self) -> Result<Option<Record>, DecodeError> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        self.record += 1;
        let line = self.record;
        let (class, pixels) = read(&mut self.input, self.layout)
            .map_err(|error| DecodeError::Broken(format!("{}: record {line}", told(&error))))?;
        let class = known(&self.format, class.to_string()).map_err(|reason| DecodeError::Bad {
            line,
            reason,
            text: String::new(),
        })?;
        Ok(Some(Record {
            id: None,
            values: numbers::of_bytes(self.format.dtype, pixels),
            class: Some(class),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::{Dtype, Values};

    #[test]
    fn both_sets_are_read_and_a_truncated_file_is_told() {
        for (classes, labels, class) in [(10, vec![7], "7"), (20, vec![3, 42], "3"), (100, vec![3, 42], "42")]
        {
            let classes = (0..classes).map(|class| class.to_string()).collect();
            let format = Format { shape: SHAPE, dtype: Dtype::U8, scale: 1.0, classes };
            let record = [&labels[..], &[9; PIXELS]].concat();
            let file = std::io::Cursor::new([&record[..], &record, &record[..99]].concat());
            let mut records = cifar(file, &format).unwrap();
            for _ in 0..2 {
                let record = records.next_record().unwrap().unwrap();
                assert_eq!(record.class.as_deref(), Some(class));
                assert_eq!(record.values, Values::U8(vec![9; PIXELS]));
            }
            let reason = records.next_record().unwrap_err().to_string();
            assert_eq!(reason, "the file is truncated: record 3");
        }
    }
}
