//! CSV rows of numbers, with or without header, class and id. A row is one line of at most 16 MiB, with
//! at most [`SPARE`] columns more than a sample needs.

use crate::decode::api::{DecodeError, Options, Record, Records, known};
use crate::decode::lines::Lines;
use crate::decode::numbers;
use ::csv::{ByteRecord, ReaderBuilder};
use sluicebox_core::config::document::shortened;
use sluicebox_core::sample::{Format, Values};
use std::io::BufRead;

/// Columns of a row beyond those of a sample; a row with more is refused before it is split, because an empty
/// column takes more memory than text.
const SPARE: usize = 1024;

struct Csv<R> {
    lines: Lines<R>,
    format: Format,
    options: Options,
    /// Columns, known once the first row is read.
    columns: Option<Columns>,
    row: ByteRecord,
}

/// Columns that are not values.
#[derive(Clone, Copy)]
struct Columns {
    class: Option<usize>,
    id: Option<usize>,
    width: usize,
}

/// Decodes CSV rows. The first row is a header if none of its values is a number. Columns that the
/// options do not give are found by their names in the header: `id`, and `label` or `class`.
pub fn csv(
    input: impl BufRead + Send + 'static,
    format: &Format,
    options: &Options,
) -> impl Records + 'static {
    Csv {
        lines: Lines::new(input),
        format: format.clone(),
        options: *options,
        columns: None,
        row: ByteRecord::new(),
    }
}

impl<R: BufRead + Send> Records for Csv<R> {
    fn next_record(&mut self) -> Result<Option<Record>, DecodeError> {
        loop {
            if !self.lines.advance()? {
                return Ok(None);
            }
            self.split()?;
            let columns = match self.columns {
                Some(columns) => columns,
                None => {
                    let (columns, header) = self.find_columns();
                    self.columns = Some(columns);
                    if header {
                        continue;
                    }
                    columns
                }
            };
            return self.parse(columns).map(Some).map_err(|reason| self.lines.bad(reason));
        }
    }
}

impl<R: BufRead + Send> Csv<R> {
    /// Splits the line into the columns of `row`.
    fn split(&mut self) -> Result<(), DecodeError> {
        let line = self.lines.line();
        let delimiter = self.options.delimiter as u8;
        let (most, found) =
            (self.format.shape.len() + SPARE, line.iter().filter(|b| **b == delimiter).count());
        if found > most {
            return Err(self.lines.bad(format!("more than {most} columns")));
        }
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).delimiter(delimiter).buffer_capacity(line.len());
        let split = builder.from_reader(line).read_byte_record(&mut self.row);
        split.map(drop).map_err(|error| self.lines.bad(error.to_string()))
    }

    /// Returns the columns according to the first row, and whether that is a header.
    fn find_columns(&self) -> (Columns, bool) {
        let place = |column: i64| match column < 0 {
            true => usize::try_from(column + self.row.len() as i64).unwrap_or(usize::MAX),
            false => column as usize,
        };
        let mut class = self.options.class_column.map(place);
        let mut id = self.options.id_column.map(place);
        let mut values = self.row.iter().enumerate().filter(|(at, _)| ![class, id].contains(&Some(*at)));
        let header = values.all(|(_, field)| number(field).is_none());
        let named = |names: &[&str]| {
            let mut fields = self.row.iter().map(|field| field.trim_ascii().to_ascii_lowercase());
            fields.position(|field| names.iter().any(|name| name.as_bytes() == field))
        };
        if header {
            class = class.or_else(|| named(&["label", "class"]));
            id = id.or_else(|| named(&["id"]));
        }
        let more = usize::from(class.is_some()) + usize::from(id.is_some());
        (Columns { class, id, width: self.format.shape.len() + more }, header)
    }

    fn parse(&self, columns: Columns) -> Result<Record, String> {
        let Columns { class, id, width } = columns;
        if self.row.len() != width {
            let what = match width - self.format.shape.len() {
                0 => format!("{} values", self.format.shape.len()),
                _ => format!("{} values, and class or id", self.format.shape.len()),
            };
            return Err(format!("{} columns instead of {width} ({what})", self.row.len()));
        }
        let mut values = Values::none(self.format.dtype);
        values.reserve(self.format.shape.len());
        let mut record = Record { id: None, values, class: None };
        for (at, field) in self.row.iter().enumerate() {
            if Some(at) == class {
                let name = String::from_utf8_lossy(field).trim().to_string();
                record.class = (!name.is_empty()).then(|| known(&self.format, name)).transpose()?;
            } else if Some(at) == id {
                let text = String::from_utf8_lossy(field);
                let fault = |_| format!("id `{}` is not a whole number", shortened(&text));
                let parsed = text.trim().parse().map_err(fault)?;
                record.id = Some(crate::decode::api::id(parsed)?);
            } else {
                let fault = || {
                    let text = String::from_utf8_lossy(field);
                    format!("`{}` in column {at} is not a number", shortened(&text))
                };
                let number = number(field).ok_or_else(fault)?;
                numbers::push(&mut record.values, number)
                    .map_err(|reason| format!("column {at}: {reason}"))?;
            }
        }
        match record.values.len() == self.format.shape.len() {
            true => Ok(record),
            false => Err(format!("a row of {width} columns has no column for the class or the id")),
        }
    }
}

fn number(field: &[u8]) -> Option<f64> {
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::{Dtype, Shape};

    fn read(text: &str, options: Options) -> Vec<Result<Option<Record>, DecodeError>> {
        let shape = Shape::Vector { features: 2 };
        let format = Format { shape, dtype: Dtype::F32, scale: 1.0, classes: Vec::new() };
        let mut records = csv(std::io::Cursor::new(text.to_string()), &format, &options);
        let all = std::iter::from_fn(|| Some(records.next_record()));
        all.take_while(|record| *record != Ok(None)).collect()
    }

    fn record(id: Option<u64>, values: [f32; 2], class: Option<&str>) -> Result<Option<Record>, DecodeError> {
        Ok(Some(Record { id, values: Values::F32(values.into()), class: class.map(String::from) }))
    }

    fn bad(line: u64, reason: &str, text: &str) -> Result<Option<Record>, DecodeError> {
        Err(DecodeError::Bad { line, reason: reason.into(), text: text.into() })
    }

    #[test]
    fn rows_with_and_without_header_class_and_id() {
        let plain = Options::default();
        assert_eq!(
            read("1,2\n\n 3 ,\"4\"", plain),
            [record(None, [1., 2.], None), record(None, [3., 4.], None)]
        );
        assert_eq!(read("a,b\r\n1,2\r\n", plain), [record(None, [1., 2.], None)]);
        let named = "\u{feff}id,a,Label,b\n7,1,cat,2\n8,3,,4\n";
        let found = [record(Some(7), [1., 2.], Some("cat")), record(Some(8), [3., 4.], None)];
        assert_eq!(read(named, plain), found);
        let options = Options { class_column: Some(-1), id_column: Some(0), ..plain };
        assert_eq!(read("7,1,2,3", options), [record(Some(7), [1., 2.], Some("3"))]);
        let options = Options { class_column: Some(0), delimiter: ';', ..plain };
        assert_eq!(read("\"a;b\";1;2", options), [record(None, [1., 2.], Some("a;b"))]);
    }

    #[test]
    fn a_bad_row_is_told_and_the_next_is_read() {
        let text = "1,2\n1,x\n1,2,3\n1,nan\n1,\"2\n5,6\n";
        let expected = [
            record(None, [1., 2.], None),
            bad(2, "`x` in column 1 is not a number", "1,x"),
            bad(3, "3 columns instead of 2 (2 values)", "1,2,3"),
            bad(4, "column 1: value 1 is NaN; values must be finite", "1,nan"),
            record(None, [1., 2.], None),
            record(None, [5., 6.], None),
        ];
        assert_eq!(read(text, Options::default()), expected);
        let wide = read(&format!("1{}\n5,6\n", ",".repeat(2000)), Options::default());
        let Err(DecodeError::Bad { line: 1, reason, .. }) = &wide[0] else { panic!("{wide:?}") };
        assert_eq!((reason.as_str(), &wide[1]), ("more than 1026 columns", &record(None, [5., 6.], None)));
        let options = Options { class_column: Some(5), ..Options::default() };
        assert_eq!(
            read("1,2,3", options),
            [bad(1, "a row of 3 columns has no column for the class or the id", "1,2,3")]
        );
    }
}
