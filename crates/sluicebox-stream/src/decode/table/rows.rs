//! Rows of a table: a row is one line, of at most 16 MiB, split into at most a given number of columns. A quote
//! that is not closed costs its line only; so a line break within quotes is not read.

use crate::decode::api::DecodeError;
use crate::decode::foreign;
use crate::decode::lines::Lines;
use ::csv::{ByteRecord, ReaderBuilder};
use std::io::{BufRead, Read};

/// Forward reader of rows.
pub struct Rows<R> {
    lines: Lines<R>,
    delimiter: u8,
    /// Most columns of a row: one with more is refused before it is split, because an empty column takes more
    /// memory than text.
    most: usize,
    row: ByteRecord,
    /// Whether a row was read that is no comment.
    begun: bool,
}

impl<R: BufRead> Rows<R> {
    /// Creates a reader of rows of at most `most` columns.
    pub fn new(lines: Lines<R>, delimiter: char, most: usize) -> Self {
        Self { lines, delimiter: delimiter as u8, most, row: ByteRecord::new(), begun: false }
    }

    /// Reads the next row; returns false at the end. Lines that begin with `%` before the first row are comments.
    pub fn advance(&mut self) -> Result<bool, DecodeError> {
        loop {
            if !self.lines.advance()? {
                return Ok(false);
            }
            if !self.begun {
                if let Some(reason) = foreign::reason_of_row(self.lines.line()) {
                    return Err(DecodeError::Broken(reason));
                }
                if self.lines.line().starts_with(b"%") {
                    continue;
                }
                self.begun = true;
            }
            return self.split().map(|()| true);
        }
    }

    fn split(&mut self) -> Result<(), DecodeError> {
        let (line, delimiter) = (self.lines.line_of_columns(self.delimiter), self.delimiter);
        if memchr::memchr_iter(delimiter, line).count() >= self.most {
            return Err(self.lines.bad(format!("more than {} columns", self.most)));
        }
        self.row.clear();
        if memchr::memchr(b'"', line).is_none() {
            line.split(|byte| *byte == delimiter).for_each(|field| self.row.push_field(field));
            return Ok(());
        }
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
