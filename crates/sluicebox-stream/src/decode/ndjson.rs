//! NDJSON: one sample per line, as `json` describes it. A line has at most 16 MiB.

use crate::decode::api::{DecodeError, Record, Records};
use crate::decode::json::sample;
use crate::decode::keys::Keys;
use crate::decode::lines::Lines;
use sluicebox_core::sample::Format;
use std::io::BufRead;

struct Ndjson<R> {
    lines: Lines<R>,
    format: Format,
    keys: Keys,
}

/// Decodes NDJSON. A line longer than 16 MiB is bad, and is not held in memory.
pub fn ndjson(input: impl BufRead + Send + 'static, format: &Format, keys: Keys) -> impl Records + 'static {
    Ndjson { lines: Lines::new(input), format: format.clone(), keys }
}

impl<R: BufRead + Send> Records for Ndjson<R> {
    fn next_record(&mut self) -> Result<Option<Record>, DecodeError> {
        if !self.lines.advance()? {
            return Ok(None);
        }
        sample(self.lines.line(), &self.format, &self.keys).map(Some).map_err(|reason| self.lines.bad(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::{Dtype, Shape, Values};

    #[test]
    fn a_bad_line_does_not_spoil_the_next() {
        let shape = Shape::Image { channels: 1, height: 2, width: 2 };
        let pixels = Format { shape, dtype: Dtype::U8, scale: 1.0, classes: Vec::new() };
        let long = [b"[".as_slice(), &vec![b' '; 40 << 20], b"0, 1, 2, 3]\n"].concat();
        let text = [b"\n[1,2,3,4]\r\n".as_slice(), b"\xff\xfe\n", &long, b"\n[5,6,7,8]"].concat();
        let mut records = ndjson(std::io::Cursor::new(text), &pixels, Keys::default());
        assert_eq!(records.next_record().unwrap().unwrap().values, Values::U8(vec![1, 2, 3, 4]));
        let Err(DecodeError::Bad { line: 3, reason, .. }) = records.next_record() else { panic!() };
        assert!(reason.contains("not UTF-8"), "{reason}");
        let Err(DecodeError::Bad { line: 4, reason, text }) = records.next_record() else { panic!() };
        assert!(reason.contains("longer than 16 MiB") && text.len() <= 4096, "{reason}");
        assert_eq!(records.next_record().unwrap().unwrap().values, Values::U8(vec![5, 6, 7, 8]));
        assert_eq!(records.next_record(), Ok(None));
        assert_eq!(records.next_record(), Ok(None));
    }
}
