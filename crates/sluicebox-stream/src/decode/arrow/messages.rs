//! The messages of an Arrow stream: a schema, dictionaries, record batches. A message has at most [`LARGEST_HEAD`] bytes of
//! description and [`LARGEST`] of content, packed and unpacked, and a batch at most [`MOST_ROWS`] rows.

use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::{Message, MessageHeader, root_as_message};
use std::io::{self, BufRead, Read};

/// Largest description of a message, in bytes.
const LARGEST_HEAD: u32 = 64 << 20;
/// Largest content of a message, in bytes.
const LARGEST: u64 = 512 << 20;
/// Most rows of a batch.
const MOST_ROWS: u64 = 1 << 27;
/// Bytes before the description: the mark and the length.
const PREFIX: usize = 8;

/// The description of a message of which the content is yet to be read.
pub struct Head {
    bytes: Vec<u8>,
    content: u64,
    /// Rows, if it is a record batch.
    pub rows: Option<u64>,
    /// Where packed parts of the content begin, if any is packed.
    packed: Vec<usize>,
}

/// A stream of messages.
pub struct Stream<R> {
    input: R,
    /// Whether it lies in a file, which must have an end.
    is_file: bool,
    is_over: bool,
    kept: Option<Head>,
}

impl<R: BufRead> Stream<R> {
    /// Reads messages from the first on.
    pub fn new(input: R, is_file: bool) -> Self {
        Self { input, is_file, is_over: false, kept: None }
    }

    /// Keeps a message for the next call of [`Stream::next`].
    pub fn keep(&mut self, head: Head) {
        self.kept = Some(head);
    }

    /// Reads the description of the next message; None at the end.
    pub fn next(&mut self) -> Result<Option<Head>, String> {
        if let Some(kept) = self.kept.take() {
            return Ok(Some(kept));
        }
        let length = if self.is_over { None } else { self.length()? };
        let Some(length) = length else {
            self.is_over = true;
            return Ok(None);
        };
        if length > LARGEST_HEAD {
            let most = LARGEST_HEAD >> 20;
            return Err(format!("damaged: a description of {length} bytes; at most {most} MiB are read"));
        }
        let mut bytes = Vec::new();
        let got = self.input.by_ref().take(length.into()).read_to_end(&mut bytes);
        let got = got.map_err(|error| error.to_string())?;
        if got < length as usize {
            return Err(truncated());
        }
        Head::of(bytes).map(Some)
    }

    /// Reads the length of the next description; None at the end.
    fn length(&mut self) -> Result<Option<u32>, String> {
        let mut prefix = Vec::new();
        let read = self.input.by_ref().take(PREFIX as u64).read_to_end(&mut prefix);
        read.map_err(|error| error.to_string())?;
        match prefix[..] {
            [] if !self.is_file => Ok(None),
            [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0] => Ok(None),
            [0xff, 0xff, 0xff, 0xff, a, b, c, d] => Ok(Some(u32::from_le_bytes([a, b, c, d]))),
            [_, _, _, _, _, _, _, _] => {
                Err("damaged: a message begins without its mark; write the file again".into())
            }
            _ => Err(truncated()),
        }
    }

    /// Reads the content of a message.
    pub fn read(&mut self, head: &Head) -> Result<Buffer, String> {
        let mut whole = MutableBuffer::with_capacity(head.content as usize);
        let mut left = head.content as usize;
        while left > 0 {
            let piece = self.input.fill_buf().map_err(|error| error.to_string())?;
            if piece.is_empty() {
                return Err(truncated());
            }
            let taken = piece.len().min(left);
            whole.extend_from_slice(&piece[..taken]);
            self.input.consume(taken);
            left -= taken;
        }
        let mut unpacked = 0u64;
        for at in &head.packed {
            let claim = whole.get(*at..).and_then(|rest| rest.first_chunk::<8>());
            let claim = i64::from_le_bytes(*claim.ok_or("damaged: a part lies outside of the content")?);
            unpacked = unpacked.saturating_add(u64::try_from(claim).unwrap_or_default());
        }
        match unpacked <= LARGEST {
            true => Ok(whole.into()),
            false => Err(too_large(unpacked)),
        }
    }

    /// Passes over the content of a message.
    pub fn pass_over(&mut self, head: Head) -> Result<(), String> {
        let passed = io::copy(&mut self.input.by_ref().take(head.content), &mut io::sink());
        match passed.map_err(|error| error.to_string())? == head.content {
            true => Ok(()),
            false => Err(truncated()),
        }
    }
}

impl Head {
    /// Returns the description.
    pub fn message(&self) -> Result<Message<'_>, String> {
        root_as_message(&self.bytes).map_err(|_| unreadable())
    }

    fn of(bytes: Vec<u8>) -> Result<Self, String> {
        let message = root_as_message(&bytes).map_err(|_| unreadable())?;
        let damaged = |_| unreadable();
        let content = u64::try_from(message.bodyLength()).map_err(damaged)?;
        if content > LARGEST {
            return Err(too_large(content));
        }
        let batch = message.header_as_record_batch();
        let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
        let mut packed = Vec::new();
        let parts = batch.or(dictionary).map(|batch| (batch.compression().is_some(), batch.buffers()));
        if let Some((is_packed, Some(parts))) = parts {
            for part in parts.iter() {
                let (from, length) = (u64::try_from(part.offset()), u64::try_from(part.length()));
                let (from, length) = (from.map_err(damaged)?, length.map_err(damaged)?);
                if from.checked_add(length).is_none_or(|end| end > content) {
                    return Err("damaged: a part lies outside of the content; write the file again".into());
                }
                packed.extend((is_packed && length > 0).then_some(from as usize));
            }
        }
        let rows = batch.map(|batch| u64::try_from(batch.length())).transpose().map_err(damaged)?;
        if rows.is_some_and(|rows| rows > MOST_ROWS) {
            return Err(format!("a batch of more than {MOST_ROWS} rows; write smaller ones"));
        }
        match message.header_type() {
            MessageHeader::Schema | MessageHeader::DictionaryBatch | MessageHeader::RecordBatch => {}
            _ => return Err("a message that is neither schema nor batch; tables are read".into()),
        }
        Ok(Self { content, rows, packed, bytes })
    }
}

fn unreadable() -> String {
    "damaged: a description of a message cannot be read; write the file again".into()
}

/// Says that a file ends too early.
pub fn truncated() -> String {
    "the file is truncated; write it again".into()
}

fn too_large(bytes: u64) -> String {
    let (size, most) = (bytes >> 20, LARGEST >> 20);
    format!(
        "a record batch of {size} MiB; at most {most} MiB are read: write smaller ones (pyarrow: max_chunksize, polars: \
         record_batch_size)"
    )
}
