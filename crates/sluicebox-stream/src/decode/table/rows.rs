//! Rows of a table: a row is one line, of at most 16 MiB, split into at most a given number of columns. A quote
//! that is not closed costs its line only; so a line break within quotes is not read. The header of an ARFF file is
//! read before its first row.

use crate::decode::api::DecodeError;
use crate::decode::lines::Lines;
use crate::decode::table::arff::{self, Attribute};
use crate::decode::table::options::Options;
use ::csv::{ByteRecord, ReaderBuilder};
use std::io::{BufRead, Read};

/// Forward reader of rows.
pub struct Rows<R> {
    lines: Lines<R>,
    delimiter: u8,
    comment: Option<u8>,
    /// Most columns of a row: one with more is refused before it is split, because an empty column takes more
    /// memory than text.
    most: usize,
    row: ByteRecord,
    /// Whether a row was read that is no comment.
    begun: bool,
    /// Whether rows are as in ARFF.
    is_arff: bool,
    attributes: Option<Vec<Attribute>>,
}

/// A character that could not be decoded, as UTF-8.
const UNDECODED: &[u8] = "\u{fffd}".as_bytes();

impl<R: BufRead> Rows<R> {
    /// Creates a reader of rows of at most `most` columns.
    pub fn new(lines: Lines<R>, options: &Options, most: usize) -> Self {
        Self {
            lines,
            delimiter: options.delimiter as u8,
            comment: options.comment.map(|comment| comment as u8),
            most,
            row: ByteRecord::new(),
            begun: false,
            is_arff: false,
            attributes: None,
        }
    }

    /// Goes on behind the header of an ARFF file.
    pub fn behind_arff_header(mut self) -> Self {
        (self.begun, self.is_arff) = (true, true);
        self
    }

    /// Returns the attributes, if an ARFF header was read.
    pub fn attributes(&self) -> Option<&[Attribute]> {
        self.attributes.as_deref()
    }

    /// Reads the next row; returns false at the end. Lines that begin with `%` before the first row are comments, and
    /// in ARFF all of them.
    pub fn advance(&mut self) -> Result<bool, DecodeError> {
        loop {
            if !self.lines.advance()? {
                return Ok(false);
            }
            let line = self.lines.line();
            let first = line.first();
            if first.is_some_and(|first| Some(*first) == self.comment)
                || (first == Some(&b'%') && (self.is_arff || !self.begun))
            {
                continue;
            }
            if let Some(delimiter) = excel_delimiter(line).filter(|_| !self.begun && self.lines.number == 1) {
                if delimiter == self.delimiter {
                    continue;
                }
                let told = char::from(delimiter);
                return Err(DecodeError::Broken(format!(
                    "its first line says that {told:?} is the delimiter: set source.delimiter"
                )));
            }
            if !self.begun && arff::begins(line) {
                self.attributes = Some(arff::header(&mut self.lines, self.most)?);
                (self.begun, self.is_arff) = (true, true);
                continue;
            }
            self.begun = true;
            return self.split().map(|()| true);
        }
    }

    fn split(&mut self) -> Result<(), DecodeError> {
        let (line, delimiter) = (self.lines.line_of_columns(self.delimiter), self.delimiter);
        if memchr::memchr_iter(delimiter, line).count() >= self.most {
            return Err(self.lines.bad(format!("more than {} columns", self.most)));
        }
        if memchr::memmem::find(line, UNDECODED).is_some() {
            let reason = "a character of this line cannot be read; is source.encoding right?";
            return Err(self.lines.bad(reason.into()));
        }
        self.row.clear();
        if self.is_arff {
            if line.starts_with(b"{") {
                return Err(self.lines.bad("a sparse row; write all values of it".into()));
            }
            let fields = arff::fields(line).map_err(|reason| self.lines.bad(reason))?;
            fields.iter().for_each(|field| self.row.push_field(field));
            return Ok(());
        }
        if memchr::memchr(b'"', line).is_none() {
            line.split(|byte| *byte == delimiter).for_each(|field| self.row.push_field(field));
            return Ok(());
        }
        quotes(line, delimiter).map_err(|reason| self.lines.bad(reason))?;
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).delimiter(delimiter).buffer_capacity(line.len() + 1);
        // An open quote takes in the end of the line, which no column has otherwise.
        let split = builder.from_reader(line.chain(&b"\n"[..])).read_byte_record(&mut self.row);
        split.map_err(|error| self.lines.bad(error.to_string()))?;
        match self.row.iter().next_back().is_some_and(|last| last.contains(&b'\n')) {
            true => Err(self.lines.bad("a quote is not closed in this line".into())),
            false => Ok(()),
        }
    }

    /// Returns the columns of the row.
    pub fn row(&self) -> &ByteRecord {
        &self.row
    }

    /// Returns the row as a bad record.
    pub fn bad(&self, reason: String) -> DecodeError {
        self.lines.bad(reason)
    }

    /// Returns the number of the row's line, from 1.
    pub fn line(&self) -> u64 {
        self.lines.number
    }

    /// Returns where the next row begins: its byte and its line. May wait for the input.
    pub fn position(&mut self) -> std::io::Result<(u64, u64)> {
        self.lines.position()
    }
}

/// Returns the delimiter that a first line names, `sep=;`, as Excel writes and reads it.
fn excel_delimiter(line: &[u8]) -> Option<u8> {
    let (name, [delimiter]) = line.split_at_checked(4)? else { return None };
    name.eq_ignore_ascii_case(b"sep=").then_some(*delimiter)
}

/// Refuses a line whose quotes can be read in two ways: a column that goes on behind its closing quote, or whose opening
/// quote comes behind blanks.
fn quotes(line: &[u8], delimiter: u8) -> Result<(), String> {
    let (mut at, mut column) = (0, 0);
    let blanks = |from: usize| {
        let blank = |byte: &&u8| **byte == b' ' && delimiter != b' ';
        line[from..].iter().take_while(blank).count()
    };
    loop {
        let before = blanks(at);
        let mut end = at + before;
        if line.get(end) == Some(&b'"') {
            if before > 0 {
                return Err(format!(
                    "a quote behind a blank in column {column}; put it at the column's beginning"
                ));
            }
            loop {
                // Without a closing quote the whole line is one column, which is told elsewhere.
                let Some(closing) = memchr::memchr(b'"', &line[end + 1..]) else { return Ok(()) };
                end += closing + 2;
                match line.get(end) {
                    Some(b'"') => {}
                    _ => break,
                }
            }
            end += blanks(end);
            if line.get(end).is_some_and(|byte| *byte != delimiter) {
                return Err(format!(
                    "column {column} goes on behind its closing quote; write a quote in it twice"
                ));
            }
        }
        let Some(next) = memchr::memchr(delimiter, &line[end..]) else { return Ok(()) };
        (at, column) = (end + next + 1, column + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::quotes;

    #[test]
    fn quotes_that_say_two_things_are_refused() {
        for good in [
            "1,\"a,b\",2",
            "\"\",\"\"",
            "\"a\"\"b\" ,1",
            "a\"b\"c,1",
            "5\",1",
            "1,\"open",
            "",
            ",,",
            "\"\"\"\"",
        ] {
            assert_eq!(quotes(good.as_bytes(), b','), Ok(()), "{good}");
        }
        for (bad, says) in [
            ("3,\"4\"5,a", "column 1 goes on behind its closing quote"),
            ("\"a\" b,1", "column 0 goes on"),
            ("1, \"a\"", "a quote behind a blank in column 1"),
        ] {
            assert!(quotes(bad.as_bytes(), b',').is_err_and(|reason| reason.starts_with(says)), "{bad}");
        }
        assert_eq!(quotes(b"1 \"a b\" 2", b' '), Ok(()));
    }
}
