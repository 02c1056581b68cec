//! A file elsewhere, read by ranges: from any place on, with a window of 64 KiB to 4 MiB that grows while one range follows
//! another.

use crate::remote::fault::{self, Fault};
use crate::remote::location::Location;
use crate::remote::thread;
use bytes::Bytes;
use object_store::{GetOptions, GetRange};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// Bytes that are read at once, where reading begins.
const LEAST_WINDOW: u64 = 1 << 16;
/// Bytes that are read at once, at most.
const LARGEST_WINDOW: u64 = 1 << 22;
/// Maximum size of a range that is asked for in one, in bytes.
const LARGEST_RANGE: u64 = 1 << 30;

/// A file elsewhere, with a place in it. A clone has a place of its own.
#[derive(Clone)]
pub struct Ranges {
    location: Location,
    size: u64,
    e_tag: Option<String>,
    /// Next byte.
    at: u64,
    /// Bytes that were read last, and where they are.
    window: Bytes,
    start: u64,
    /// Size of the next window.
    next: u64,
}

impl Ranges {
    /// Finds a file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let location = Location::of(path)?;
        fault::keep(&location, None);
        let head = GetOptions { head: true, ..GetOptions::default() };
        let found = thread::wait(location.store.get_opts(&location.key, head))?;
        let meta = found.map_err(|error| failed(&location, &error))?.meta;
        let (window, start) = (Bytes::new(), 0);
        Ok(Self { location, size: meta.size, e_tag: meta.e_tag, at: 0, window, start, next: LEAST_WINDOW })
    }

    /// Returns the size of the file, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads a range, of at most 1 GiB.
    pub fn range(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if range.end > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if range.end - range.start > LARGEST_RANGE {
            return Err(io::Error::other(format!("a part of more than {} MiB", LARGEST_RANGE >> 20)));
        }
        let part = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let read = thread::wait(async {
            let result = self.location.store.get_opts(&self.location.key, part).await?;
            let meta = result.meta.clone();
            Ok((meta, result.bytes().await?))
        })?;
        let (meta, bytes) = read.map_err(|error| failed(&self.location, &error))?;
        if (meta.size, &meta.e_tag) != (self.size, &self.e_tag) {
            return Err(Fault::lasting("the file was changed while it was read").into());
        }
        match bytes.len() as u64 == range.end - range.start {
            true => Ok(bytes),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn failed(location: &Location, error: &object_store::Error) -> io::Error {
    let fault = Fault::of(location, error);
    fault::keep(location, Some(&fault));
    fault.into()
}

impl Read for Ranges {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let end = self.start + self.window.len() as u64;
        if !(self.start..end).contains(&self.at) {
            self.next = if self.at == end { (self.next * 2).min(LARGEST_WINDOW) } else { LEAST_WINDOW };
            self.window = self.range(self.at..(self.at + self.next).min(self.size))?;
            self.start = self.at;
        }
        let from = &self.window[(self.at - self.start) as usize..];
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Ranges {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::other("a place before the beginning of the file"))?;
        Ok(self.at)
    }
}
