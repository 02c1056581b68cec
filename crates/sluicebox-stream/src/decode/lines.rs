//! Lines of text with bounded length: a longer line is skipped without being held in memory. A line ends with LF,
//! CR LF or CR. Reading ends at a gap of more than 256 MiB without a line to decode.

use crate::decode::api::DecodeError;
use crate::decode::foreign;
use std::io::BufRead;

/// Maximum length of a line, in bytes.
pub const LONGEST: usize = 16 << 20;
/// Maximum number of bytes that are skipped for one line.
const MOST_SKIPPED: u64 = 256 << 20;
/// Bytes of a bad line that are reported.
const TOLD: usize = 4 << 10;

/// Byte order mark that Windows puts before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns a text without a byte order mark at its start.
pub fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// Forward reader of lines.
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
    /// Number of the line in `line`, from 1.
    pub number: u64,
    /// Bytes of the input that were read.
    byte: u64,
    /// Whether the last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
}

impl<R: BufRead> Lines<R> {
    /// Creates a reader of the lines of `input`.
    pub fn new(input: R) -> Self {
        Self::at(input, 0, 1)
    }

    /// Creates a reader of lines from `byte` of a text on, where line `number` begins.
    pub fn at(input: R, byte: u64, number: u64) -> Self {
        Self { input, line: Vec::new(), number: number.saturating_sub(1), byte, after_cr: false }
    }

    /// Returns where the next line begins: its byte and its number. May wait for the input.
    pub fn position(&mut self) -> std::io::Result<(u64, u64)> {
        self.pass_line_feed()?;
        Ok((self.byte, self.number + 1))
    }

    /// Reads the next line that is not blank; returns false at the end.
    pub fn advance(&mut self) -> Result<bool, DecodeError> {
        let mut blank = 0;
        loop {
            self.number += 1;
            let length = self.next_line()?;
            if length == 0 {
                return Ok(false);
            }
            if self.number == 1 {
                if self.line.starts_with(BYTE_ORDER_MARK) {
                    self.line.drain(..BYTE_ORDER_MARK.len());
                }
                if let Some(reason) = foreign::reason_of_line(&self.line) {
                    return Err(DecodeError::Broken(reason));
                }
            }
            if length > LONGEST as u64 + 1 {
                self.line.truncate(TOLD);
                return Err(match length > LONGEST as u64 + MOST_SKIPPED {
                    true => self.gap("within one line"),
                    false => self.bad(format!("the line is longer than {} MiB", LONGEST >> 20)),
                });
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
            blank += length;
            if blank > MOST_SKIPPED {
                return Err(self.gap("of blank lines"));
            }
        }
    }

    /// Reads a line into `line`, as far as it may be held, and returns its length with its end, in bytes.
    fn next_line(&mut self) -> std::io::Result<u64> {
        self.line.clear();
        self.pass_line_feed()?;
        let mut length = 0;
        loop {
            let text = self.input.fill_buf()?;
            if text.is_empty() || length > LONGEST as u64 + MOST_SKIPPED {
                return Ok(length);
            }
            let end = memchr::memchr2(b'\n', b'\r', text);
            let part = &text[..end.unwrap_or(text.len())];
            let room = (LONGEST + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.after_cr = end.is_some_and(|end| text[end] == b'\r');
            self.input.consume(used);
            self.byte += used as u64;
            length += used as u64;
            if end.is_some() {
                return Ok(length);
            }
        }
    }

    fn pass_line_feed(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.after_cr) && self.input.fill_buf()?.first() == Some(&b'\n') {
            self.input.consume(1);
            self.byte += 1;
        }
        Ok(())
    }

    fn gap(&self, what: &str) -> DecodeError {
        let (most, line) = (MOST_SKIPPED >> 20, self.number);
        DecodeError::Broken(format!("more than {most} MiB {what}, up to line {line}; the rest is not read"))
    }

    /// Returns the line without surrounding white space.
    pub fn line(&self) -> &[u8] {
        self.line.trim_ascii()
    }

    /// Returns the line without surrounding white space, of which a delimiter of columns is none.
    pub fn line_of_columns(&self, delimiter: u8) -> &[u8] {
        match delimiter.is_ascii_whitespace() {
            true => &self.line,
            false => self.line(),
        }
    }

    /// Returns the line as a bad record.
    pub fn bad(&self, reason: String) -> DecodeError {
        let told = &self.line()[..self.line().len().min(TOLD)];
        DecodeError::Bad { line: self.number, reason, text: String::from_utf8_lossy(told).into_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Cursor, repeat};

    #[test]
    fn reading_ends_at_an_endless_gap() {
        for (byte, says) in [(b'1', "within one line"), (b'\n', "of blank lines")] {
            let mut lines = Lines::new(BufReader::with_capacity(1 << 20, repeat(byte)));
            let Err(DecodeError::Broken(reason)) = lines.advance() else { panic!("{says}") };
            assert!(reason.contains(says), "{reason}");
        }
    }

    #[test]
    fn a_line_ends_with_any_of_the_three_ends_and_reading_goes_on_where_it_was() {
        let text = "a\nb\r\n\r\nc\rd\r\re\n";
        for capacity in [1, 2, 3, 4, 64] {
            let mut lines = Lines::new(BufReader::with_capacity(capacity, Cursor::new(text)));
            let mut found = Vec::new();
            while lines.advance().unwrap() {
                found.push((lines.number, String::from_utf8_lossy(lines.line()).into_owned()));
                let (byte, number) = lines.position().unwrap();
                let mut rest = Lines::at(Cursor::new(&text[byte as usize..]), byte, number);
                let mut again = Lines::at(Cursor::new(&text[byte as usize..]), byte, number);
                assert_eq!(rest.position().unwrap(), (byte, number));
                if again.advance().unwrap() {
                    rest.advance().unwrap();
                    assert_eq!((again.number, again.line()), (rest.number, rest.line()));
                }
            }
            let told: Vec<(u64, &str)> =
                found.iter().map(|(number, line)| (*number, line.as_str())).collect();
            assert_eq!(told, [(1, "a"), (2, "b"), (4, "c"), (5, "d"), (7, "e")], "{capacity}");
        }
    }
}
