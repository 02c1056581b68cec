//! Lines of text with bounded length: a longer line is skipped without being held in memory. Reading ends at a gap
//! of more than 256 MiB without a line to decode.

use crate::decode::api::DecodeError;
use std::io::{BufRead, Read};

/// Maximum length of a line, in bytes.
pub const LONGEST: usize = 16 << 20;
/// Maximum number of bytes that are skipped for one line.
const MOST_SKIPPED: u64 = 256 << 20;
/// Bytes of a bad line that are reported.
const TOLD: usize = 4 << 10;

/// Byte order mark that Windows puts before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Forward reader of lines.
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
    /// Number of the line in `line`, from 1.
    pub number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Creates a reader of the lines of `input`.
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0 }
    }

    /// Reads the next line that is not blank; returns false at the end.
    pub fn advance(&mut self) -> Result<bool, DecodeError> {
        let mut blank = 0;
        loop {
            self.line.clear();
            self.number += 1;
            let mut bounded = (&mut self.input).take(LONGEST as u64 + 1);
            if bounded.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(false);
            }
            if self.line.len() > LONGEST && !self.line.ends_with(b"\n") {
                self.line.truncate(TOLD);
                if (&mut self.input).take(MOST_SKIPPED).skip_until(b'\n')? as u64 == MOST_SKIPPED {
                    return Err(self.gap("within one line"));
                }
                return Err(self.bad(format!("the line is longer than {} MiB", LONGEST >> 20)));
            }
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
            blank += self.line.len() as u64;
            if blank > MOST_SKIPPED {
                return Err(self.gap("of blank lines"));
            }
        }
    }

    fn gap(&self, what: &str) -> DecodeError {
        let (most, line) = (MOST_SKIPPED >> 20, self.number);
        DecodeError::Broken(format!("more than {most} MiB {what}, up to line {line}; the rest is not read"))
    }

    /// Returns the line without surrounding white space.
    pub fn line(&self) -> &[u8] {
        self.line.trim_ascii()
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
    use std::io::{BufReader, repeat};

    #[test]
    fn reading_ends_at_an_endless_gap() {
        for (byte, says) in [(0, "within one line"), (b'\n', "of blank lines")] {
            let mut lines = Lines::new(BufReader::with_capacity(1 << 20, repeat(byte)));
            let Err(DecodeError::Broken(reason)) = lines.advance() else { panic!("{says}") };
            assert!(reason.contains(says), "{reason}");
        }
    }
}
