//! Arrow's files (`.arrow`, `.feather`) and streams, as Hugging Face `datasets` keeps them: message by message. A file is
//! read as the stream in it, from its beginning to its end.
//!
//! Memory holds one record batch as it is in the file, and the dictionaries: [`messages`] says by what they are bounded.

mod messages;

use crate::decode::columns::{Batches, guarded};
use crate::decode::foreign;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::root_as_message;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use messages::{Head, Stream, truncated};
use std::collections::HashMap;
use std::io::{BufRead, Chain, Cursor, Read};

/// First bytes of a file, before its stream.
const MAGIC: &[u8] = b"ARROW1\0\0";
/// First bytes of a file of the first version of Feather.
const FEATHER_1: &[u8] = b"FEA1";
/// Largest schema without mark and length, in bytes.
const LARGEST_BARE: usize = 1 << 20;
/// First bytes of a stream.
const STREAM: &[u8] = b"\xff\xff\xff\xff";

/// The record batches of a file or a stream.
pub struct Messages<R> {
    stream: Stream<Chain<Cursor<Vec<u8>>, R>>,
    schema: SchemaRef,
    columns: Vec<usize>,
    /// Dictionaries by their numbers.
    dictionaries: HashMap<i64, ArrayRef>,
}

impl<R: BufRead + Send> Messages<R> {
    /// Reads the schema.
    pub fn open(mut input: R) -> Result<Self, String> {
        let first = input.fill_buf().map_err(|error| error.to_string())?;
        let is_file = first.starts_with(MAGIC);
        if first.starts_with(FEATHER_1) {
            return Err("a file of Feather version 1; write it with version 2, the default".into());
        }
        if !is_file && !first.starts_with(STREAM) {
            let other =
                "it begins neither as an Arrow file nor as an Arrow stream (of version 0.15 or later)";
            return Err(foreign::reason(first).unwrap_or_else(|| other.into()));
        }
        if is_file {
            input.consume(MAGIC.len());
        }
        let begins = input.fill_buf().map_err(|error| error.to_string())?;
        if is_file && !begins.is_empty() && !begins.starts_with(STREAM) {
            let (schema, mark) = bare_schema(&mut input)?;
            return Ok(Self::new(Stream::new(Cursor::new(mark).chain(input), is_file), schema));
        }
        let mut stream = Stream::new(Cursor::new(Vec::new()).chain(input), is_file);
        let Some(first) = stream.next()? else {
            return Err("it holds nothing, not even a schema".into());
        };
        let schema = guarded(|| {
            let schema = first.message()?.header_as_schema().ok_or("it does not begin with a schema")?;
            try_fb_to_schema(schema).map_err(|error| damaged(&error))
        })?;
        stream.pass_over(first)?;
        Ok(Self::new(stream, schema))
    }

    fn new(stream: Stream<Chain<Cursor<Vec<u8>>, R>>, schema: Schema) -> Self {
        let (columns, dictionaries) = ((0..schema.fields().len()).collect(), HashMap::new());
        Self { stream, schema: schema.into(), columns, dictionaries }
    }

    /// Reads messages up to the next record batch, which is not read.
    fn next_batch(&mut self) -> Result<Option<Head>, String> {
        loop {
            match self.stream.next()? {
                Some(head) if head.rows.is_none() => {
                    let content = self.stream.read(&head)?;
                    guarded(|| {
                        let message = head.message()?;
                        let dictionary = message.header_as_dictionary_batch();
                        let dictionary = dictionary.ok_or("damaged: a schema in the middle of the file")?;
                        let (known, version) = (&mut self.dictionaries, message.version());
                        let read = read_dictionary(&content, dictionary, &self.schema, known, &version);
                        read.map_err(|error| damaged(&error))
                    })?;
                }
                batch => return Ok(batch),
            }
        }
    }
}

/// Reads the schema of a file that polars wrote, whose message has neither mark nor length: it ends where the next one
/// begins. Returns the mark and the length of that one, too.
fn bare_schema(input: &mut impl BufRead) -> Result<(Schema, Vec<u8>), String> {
    let (mut schema, mut next) = (Vec::new(), [0; 8]);
    while schema.len() < LARGEST_BARE {
        input.read_exact(&mut next).map_err(|_| truncated())?;
        if next.starts_with(STREAM)
            && let Ok(message) = root_as_message(&schema)
            && let Some(found) = message.header_as_schema()
        {
            let schema = guarded(|| try_fb_to_schema(found).map_err(|error| damaged(&error)))?;
            return Ok((schema, next.to_vec()));
        }
        schema.extend(next);
    }
    Err("damaged: there is no schema at its beginning; write it again".into())
}

fn damaged(error: &ArrowError) -> String {
    let error: String = error.to_string().chars().take(300).collect();
    format!("a part of the file is damaged: {error}; write it again")
}

impl<R: BufRead + Send> Batches for Messages<R> {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn project(&mut self, columns: &[usize]) -> Result<(), String> {
        self.columns = columns.to_vec();
        Ok(())
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        let Some(head) = self.next_batch()? else { return Ok(None) };
        let content = self.stream.read(&head)?;
        guarded(|| {
            let message = head.message()?;
            let batch = message.header_as_record_batch().ok_or("damaged: a batch without a description")?;
            let (schema, version) = (self.schema.clone(), message.version());
            let (known, columns) = (&self.dictionaries, Some(&self.columns[..]));
            let read = read_record_batch(&content, batch, schema, known, columns, &version);
            read.map(Some).map_err(|error| damaged(&error))
        })
    }

    /// Passes over whole record batches.
    fn skip(&mut self, most: u64) -> Result<u64, String> {
        let mut skipped = 0;
        while let Some(head) = self.next_batch()? {
            let rows = head.rows.unwrap_or_default();
            if rows > most - skipped {
                self.stream.keep(head);
                break;
            }
            self.stream.pass_over(head)?;
            skipped += rows;
        }
        Ok(skipped)
    }
}
