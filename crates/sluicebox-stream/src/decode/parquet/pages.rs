//! What the pages of a Parquet file may take, whatever it claims: a page has at most [`LARGEST`] bytes, packed and
//! unpacked, and at most [`MOST_VALUES`] values where rows hold lists; the pages of a batch have at most [`MOST`] bytes, or
//! [`A_COLUMN`] a column if that is more. The reader asks for the header of a page and then for its content; in between
//! the header is looked at.

use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

/// Largest page, in bytes.
const LARGEST: u64 = 256 << 20;
/// Most values of a page of lists.
const MOST_VALUES: u64 = 64 << 20;
/// Most bytes of the pages of a batch.
const MOST: u64 = 512 << 20;
/// The same for each column of a wide table.
const A_COLUMN: u64 = 4 << 20;
/// Bytes of a header that say how large its page is; statistics may follow.
const HEAD: usize = 64;

/// The bytes of a file, whose pages are bounded.
pub struct Pages<R>(Arc<Inner<R>>);

struct Inner<R> {
    input: R,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Headers of pages that are yet to be read, by where they begin.
    heads: HashMap<u64, Seen>,
    /// Bytes of the pages of the present batch.
    taken: u64,
    most: u64,
    gzip: bool,
    nested: bool,
}

impl State {
    /// Returns what the header says of the page that begins at a byte.
    fn head(&mut self, page: u64) -> Option<Head> {
        let found = self.heads.iter().find(|(start, seen)| *start + seen.length == page);
        let start = found.map(|(start, _)| *start)?;
        Head::of(&self.heads.remove(&start)?.first)
    }
}

impl<R> Clone for Pages<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: ChunkReader> Pages<R> {
    /// Bounds the pages of a file.
    pub fn new(input: R) -> Self {
        Self(Arc::new(Inner { input, state: Mutex::default() }))
    }

    /// Begins a row group of which so many columns are read: whether one of them is packed as gzip, and whether rows
    /// hold lists.
    pub fn begin(&self, gzip: bool, nested: bool, columns: u64) {
        let most = MOST.max(A_COLUMN.saturating_mul(columns));
        *self.0.state.lock() = State { most, gzip, nested, ..State::default() };
    }

    /// Begins a batch.
    pub fn begin_batch(&self) {
        self.0.state.lock().taken = 0;
    }
}

impl<R: ChunkReader> Length for Pages<R> {
    fn len(&self) -> u64 {
        self.0.input.len()
    }
}

impl<R: ChunkReader> ChunkReader for Pages<R> {
    type T = Header<R>;

    fn get_read(&self, start: u64) -> Result<Header<R>> {
        let input = self.0.input.get_read(start)?;
        Ok(Header { pages: self.0.clone(), input, start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut state = self.0.state.lock();
        let head = state.head(start);
        let head =
            head.ok_or_else(|| ParquetError::General("a page without a header that can be read".into()))?;
        let values = if state.nested { head.values } else { 0 };
        if head.unpacked.max(length as u64) > LARGEST || values > MOST_VALUES {
            let (size, most) = (head.unpacked >> 20, LARGEST >> 20);
            return refused(format!(
                "a page of {size} MiB and {values} values; at most {most} MiB and {MOST_VALUES} values of lists are \
                 read: write smaller pages (data_page_size)"
            ));
        }
        state.taken += head.unpacked.max(4 * values);
        if state.taken > state.most {
            let most = state.most >> 20;
            return refused(format!("rows of which a few take more than {most} MiB"));
        }
        let is_gzip = state.gzip;
        drop(state);
        let page = self.0.input.get_bytes(start, length)?;
        match page.get(head.levels..) {
            Some(packed) if is_gzip && packed.starts_with(b"\x1f\x8b") => {
                let unpacked = MultiGzDecoder::new(packed).take(head.unpacked + 1);
                if std::io::copy(&mut { unpacked }, &mut std::io::sink())? > head.unpacked {
                    return refused("a page that is larger than its header says".into());
                }
            }
            _ => {}
        }
        Ok(page)
    }
}

fn refused<T>(reason: String) -> Result<T> {
    Err(ParquetError::General(reason))
}

/// Reader of the header of a page, which keeps what it says.
pub struct Header<R: ChunkReader> {
    pages: Arc<Inner<R>>,
    input: R::T,
    start: u64,
}

impl<R: ChunkReader> Read for Header<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.input.read(buffer)?;
        let mut state = self.pages.state.lock();
        let seen = state.heads.entry(self.start).or_default();
        let wanted = HEAD.saturating_sub(seen.first.len()).min(got);
        seen.first.extend_from_slice(&buffer[..wanted]);
        seen.length += got as u64;
        Ok(got)
    }
}

/// A header as far as it was read.
#[derive(Default)]
struct Seen {
    /// Its bytes.
    length: u64,
    /// The first of them.
    first: Vec<u8>,
}

/// What the header of a page says of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    /// Bytes of the page, unpacked.
    unpacked: u64,
    values: u64,
    /// Bytes before what is packed.
    levels: usize,
}

/// The field after the last one, a number of 32 bits, in Thrift's compact form.
const NEXT_NUMBER: u8 = 0x15;

impl Head {
    /// Reads the first fields of a header: kind, size unpacked, size packed, perhaps a checksum; then a struct by kind that
    /// begins with the number of values.
    fn of(first: &[u8]) -> Option<Self> {
        let mut bytes = first.iter().copied();
        let mut numbers = Vec::new();
        let mut next = bytes.next()?;
        let mut field = 0;
        while next == NEXT_NUMBER {
            numbers.push(varint(&mut bytes)?);
            field += 1;
            next = bytes.next()?;
        }
        let unpacked = u64::try_from(*numbers.get(1)?).ok()?;
        let kind = field + u32::from(next >> 4);
        let mut within = Vec::new();
        while within.len() < 6 && bytes.next() == Some(NEXT_NUMBER) {
            within.push(varint(&mut bytes)?);
        }
        let values = u64::try_from(*within.first()?).ok()?;
        const SECOND_VERSION: u32 = 8;
        let levels = match (kind, &within[..]) {
            (SECOND_VERSION, [_, _, _, _, definition, repetition]) => {
                usize::try_from(definition.checked_add(*repetition)?).ok()?
            }
            _ => 0,
        };
        Some(Self { unpacked, values, levels })
    }
}

/// Reads a number of variable length whose lowest bit is the sign.
fn varint(bytes: &mut impl Iterator<Item = u8>) -> Option<i64> {
    let mut number = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_versions() {
        // Kind 0, 1000 bytes, 300 packed; then data_page_header (field 5) with 250 values.
        let first = [0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 0xd8, 0x04, 0x2c, 0x15, 0xf4, 0x03, 0x15, 0];
        assert_eq!(Head::of(&first), Some(Head { unpacked: 1000, values: 250, levels: 0 }));
        // With a checksum, and data_page_header_v2 (field 8): 10 values, no null, 10 rows, encoding 0, levels of 3 and 4 bytes.
        let second = [
            0x15, 6, 0x15, 200, 1, 0x15, 20, 0x15, 2, 0x4c, 0x15, 20, 0x15, 0, 0x15, 20, 0x15, 0, 0x15, 6,
            0x15, 8, 0,
        ];
        assert_eq!(Head::of(&second), Some(Head { unpacked: 100, values: 10, levels: 7 }));
        for damaged in
            [&b""[..], &[0x15], &[0x15, 0, 0x15], &[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[0x2c, 0]]
        {
            assert_eq!(Head::of(damaged), None, "{damaged:?}");
        }
    }
}
