//! Rows of a table as samples of a job's format: a row is one line of at most 16 MiB, with at most [`SPARE`]
//! columns more than a sample needs.

use crate::decode::api::{DecodeError, Record, Records};
use crate::decode::class_name::given;
use crate::decode::lines::Lines;
use crate::decode::numbers;
use crate::decode::table::layout::{Layout, Wanted};
use crate::decode::table::options::Options;
use crate::decode::table::rows::Rows;
use crate::decode::text_encoding::Utf8;
use sluicebox_core::sample::{Format, Values};
use std::io::BufRead;

/// Columns of a row beyond those of a sample.
const SPARE: usize = 1024;

struct Csv<R> {
    rows: Rows<Utf8<R>>,
    format: Format,
    options: Options,
    /// Known once the first row is read.
    layout: Option<Layout>,
    tell: fn(&str),
}

/// Decodes the rows of a table. What the options leave open is decided by the first row; `tell` is told what was.
pub fn csv(
    input: impl BufRead + Send + 'static,
    format: &Format,
    options: &Options,
    tell: fn(&str),
) -> impl Records + 'static {
    Csv {
        rows: Rows::new(Lines::new(options.encoding.utf8(input)), options, format.shape.len() + SPARE),
        format: format.clone(),
        options: options.clone(),
        layout: None,
        tell,
    }
}

impl<R: BufRead + Send> Records for Csv<R> {
    fn next_record(&mut self) -> Result<Option<Record>, DecodeError> {
        loop {
            if !self.rows.advance()? {
                return Ok(None);
            }
            if let Some(layout) = &self.layout {
                return self.parse(layout).map(Some).map_err(|reason| self.rows.bad(reason));
            }
            let wanted = Wanted::Values(self.format.shape.len());
            let attributes = self.rows.attributes();
            let layout = Layout::of(self.rows.row(), &self.options, wanted, attributes);
            let layout = layout.map_err(DecodeError::Broken)?;
            (self.tell)(&layout.told());
            let header = layout.header;
            let layout = self.layout.insert(layout);
            if !header {
                let layout = layout.clone();
                return self.parse(&layout).map(Some).map_err(|reason| self.rows.bad(reason));
            }
        }
    }
}

impl<R: BufRead + Send> Csv<R> {
    fn parse(&self, layout: &Layout) -> Result<Record, String> {
        let row = layout.read(self.rows.row(), &self.options)?;
        if let Some(reason) = layout.missing(&row, self.rows.row(), &self.options) {
            return Err(reason);
        }
        let mut values = Values::none(self.format.dtype);
        values.reserve(row.values.len());
        for (at, value) in row.values.iter().enumerate() {
            let column = |reason: String| format!("column {}: {reason}", layout.column_of(at));
            numbers::push_or_missing(&mut values, *value).map_err(column)?;
        }
        let markers = &self.options.missing_markers;
        let class = row.class.map(|name| given(&self.format, markers, name)).transpose()?.flatten();
        Ok(Record { id: row.id, values, class })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::table::column::Column;
    use crate::decode::table::encoding::DECLARE;
    use crate::decode::table::options::Header;
    use sluicebox_core::sample::{Dtype, Shape};
    use sluicebox_core::sample_id::SampleId;

    fn read(text: &str, options: Options) -> Vec<Result<Option<Record>, DecodeError>> {
        csv_of(text, &options)
    }

    fn csv_of(text: &str, options: &Options) -> Vec<Result<Option<Record>, DecodeError>> {
        let shape = Shape::Vector { features: 2 };
        let format = Format { shape, dtype: Dtype::F32, scale: 1.0, classes: Vec::new() };
        let mut records = csv(std::io::Cursor::new(text.to_string()), &format, options, |_| {});
        let mut all = Vec::new();
        loop {
            match records.next_record() {
                Ok(None) => return all,
                Err(broken @ DecodeError::Broken(_)) => return [all, vec![Err(broken)]].concat(),
                record => all.push(record),
            }
        }
    }

    fn record(id: Option<u64>, values: [f32; 2], class: Option<&str>) -> Result<Option<Record>, DecodeError> {
        let id = id.map(SampleId::of_key);
        Ok(Some(Record { id, values: Values::F32(values.into()), class: class.map(String::from) }))
    }

    fn bad(line: u64, reason: &str, text: &str) -> Result<Option<Record>, DecodeError> {
        Err(DecodeError::Bad { line, reason: reason.into(), text: text.into() })
    }

    #[test]
    fn rows_with_and_without_header_class_and_id() {
        let plain = Options::default;
        assert_eq!(
            read("1,2\n\n 3 ,\"4\"", plain()),
            [record(None, [1., 2.], None), record(None, [3., 4.], None)]
        );
        assert_eq!(read("a,b\r\n1,2\r\n", plain()), [record(None, [1., 2.], None)]);
        let named = "\u{feff}id,a,Label,b\n7,1,cat,2\n8.0,3,,4\n";
        let found = [record(Some(7), [1., 2.], Some("cat")), record(Some(8), [3., 4.], None)];
        assert_eq!(read(named, plain()), found);
        let place = |place| Some(Column::Place(place));
        let options = Options { class: place(-1), id: place(0), ..plain() };
        assert_eq!(read("7,1,2,3", options), [record(Some(7), [1., 2.], Some("3"))]);
        let options = Options { class: place(0), delimiter: ';', ..plain() };
        assert_eq!(read("\"a;b\";1;2", options), [record(None, [1., 2.], Some("a;b"))]);
        let options = Options { features: ["b", "a"].map(Column::from).to_vec(), ..plain() };
        assert_eq!(read("a,x,b\n1,7,2\n", options), [record(None, [2., 1.], None)]);
        let options = Options { ignore: vec![Column::from("X")], header: Header::Yes, ..plain() };
        assert_eq!(read("a,x,b\n1,text,2\n", options), [record(None, [1., 2.], None)]);
    }

    #[test]
    fn a_name_of_a_class_is_one_only_where_a_column_is_left_for_it() {
        assert_eq!(read("x,y\n1,2\n", Options::default()), [record(None, [1., 2.], None)]);
        assert_eq!(read("a,b,Y\n1,2,cat\n", Options::default()), [record(None, [1., 2.], Some("cat"))]);
        assert_eq!(read("y,a,b,label\n1,2,3,4", Options::default()).len(), 1);
    }

    #[test]
    fn a_bad_row_is_told_and_the_next_is_read() {
        let text = "1,2\n1,x\n1,2,3\n1,nan\n1,inf\n1,1e39\n1,\"2\n5,6\n";
        let expected = [
            record(None, [1., 2.], None),
            bad(2, &format!("`x` in column 1 is not a finite number; {DECLARE}"), "1,x"),
            bad(3, "3 columns instead of 2", "1,2,3"),
            bad(4, "the value in column 1 is missing (`nan`)", "1,nan"),
            bad(5, "`inf` in column 1 is not a finite number", "1,inf"),
            bad(6, &format!("column 1: value 1 is 1{}: too large for f32", "0".repeat(39)), "1,1e39"),
            bad(7, "a quote is not closed in this line", "1,\"2"),
            record(None, [5., 6.], None),
        ];
        assert_eq!(read(text, Options::default()), expected);
        let wide = read(&format!("1{}\n5,6\n", ",".repeat(2000)), Options::default());
        let Err(DecodeError::Bad { line: 1, reason, .. }) = &wide[0] else { panic!("{wide:?}") };
        assert_eq!((reason.as_str(), &wide[1]), ("more than 1026 columns", &record(None, [5., 6.], None)));
    }

    #[test]
    fn columns_that_do_not_fit_are_told() {
        for (text, options, says) in [
            (
                "1,2,3",
                Options { class: Some(Column::Place(5)), ..Options::default() },
                "there is no column 5",
            ),
            (
                "1,2",
                Options { class: Some(Column::from("kind")), ..Options::default() },
                "unknown column `kind`",
            ),
            ("a,b,c\n1,2,3", Options::default(), "3 columns of values instead of 2 (0 `a`, 1 `b`, 2 `c`)"),
            (
                "1,2",
                Options { class: Some(Column::from("kind")), header: Header::No, ..Options::default() },
                "there is no header with a column `kind`",
            ),
        ] {
            let broken = &csv_of(text, &options)[0];
            let Err(DecodeError::Broken(reason)) = broken else { panic!("{broken:?}") };
            assert!(reason.contains(says), "{reason}");
        }
    }
}
