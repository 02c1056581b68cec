//! Parquet: row group by row group, in batches of at most [`MOST_ROWS`] rows or about [`BATCH`] bytes, of the columns that
//! are read only.
//!
//! Memory holds a batch, and of each column a page with its dictionary: [`pages`] says by what they are bounded. The
//! footer has at most 64 MiB, and columns lie at most 64 deep within one another.

mod footer;
mod input;
mod pages;

use crate::decode::columns::{Batches, guarded};
use crate::decode::foreign;
use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::basic::Compression;
use ::parquet::file::metadata::RowGroupMetaData;
use ::parquet::file::reader::ChunkReader;
use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use footer::DEEPEST;
use pages::Pages;
use std::sync::Arc;

/// Most rows of a batch.
const MOST_ROWS: u64 = 2048;
/// Bytes of a batch, as far as the mean of the row group says.
const BATCH: u64 = 4 << 20;
/// Largest footer, in bytes.
const LARGEST_FOOTER: u64 = 64 << 20;
/// Bytes at either end of a file.
const MAGIC: &[u8] = b"PAR1";
/// What a file must have: the mark at its beginning, the length of the footer, and the mark at its end.
const LEAST: u64 = 12;

/// The row groups of a file.
pub struct RowGroups<R: ChunkReader> {
    pages: Pages<R>,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    /// The next row group.
    group: usize,
    present: Option<Present>,
}

/// The row group that is being read.
struct Present {
    reader: ParquetRecordBatchReader,
    /// Rows that are yet to come.
    left: u64,
}

impl<R: ChunkReader + 'static> RowGroups<R> {
    /// Reads the footer of a file.
    pub fn open(input: R) -> Result<Self, String> {
        check(&input)?;
        let metadata = guarded(|| {
            let metadata = ArrowReaderMetadata::load(&input, ArrowReaderOptions::new());
            metadata.map_err(|error| format!("the footer cannot be read: {error}; write the file again"))
        })?;
        let mask = ProjectionMask::all();
        Ok(Self { pages: Pages::new(input), metadata, mask, group: 0, present: None })
    }

    /// Opens the next row group; returns false after the last.
    fn advance(&mut self) -> Result<bool, String> {
        let Some(group) = self.metadata.metadata().row_groups().get(self.group) else { return Ok(false) };
        let (number, left) = (self.group, rows(group)?);
        let (mut gzip, mut nested, mut bytes, mut columns) = (false, false, 0u64, 0u64);
        for (at, column) in group.columns().iter().enumerate() {
            if !self.mask.leaf_included(at) {
                continue;
            }
            match column.compression() {
                Compression::UNCOMPRESSED
                | Compression::SNAPPY
                | Compression::ZSTD(_)
                | Compression::LZ4_RAW => {}
                Compression::GZIP(_) => gzip = true,
                other => {
                    let packing = format!("{other:?}").to_lowercase();
                    return Err(format!(
                        "column `{}` is packed as {packing}, which is not read; write it with compression = \"zstd\"",
                        column.column_path()
                    ));
                }
            }
            let repeats = column.column_descr().max_rep_level() > 0;
            nested |= repeats;
            let size = |number: i64| u64::try_from(number).unwrap_or_default();
            let values = if repeats { 4 * size(column.num_values()) } else { 0 };
            bytes = bytes.saturating_add(size(column.uncompressed_size()).max(values));
            columns += 1;
        }
        let a_row = (bytes / left.max(1)).max(1);
        self.pages.begin(gzip, nested, columns);
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.pages.clone(), self.metadata.clone());
        let builder = builder
            .with_projection(self.mask.clone())
            .with_row_groups(vec![number])
            .with_batch_size((BATCH / a_row).clamp(1, MOST_ROWS) as usize);
        let reader = guarded(|| builder.build().map_err(|error| damaged(number, &error)))?;
        self.group += 1;
        self.present = Some(Present { reader, left });
        Ok(true)
    }
}

impl<R: ChunkReader + 'static> Batches for RowGroups<R> {
    fn schema(&self) -> SchemaRef {
        self.metadata.schema().clone()
    }

    fn project(&mut self, columns: &[usize]) -> Result<(), String> {
        let schema = self.metadata.schema();
        let fields = schema.fields().iter().enumerate();
        let fields: Fields = fields
            .map(|(at, field)| if columns.contains(&at) { by_reference(field) } else { field.clone() })
            .collect();
        let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
        let metadata = self.metadata.metadata().clone();
        self.metadata = guarded(|| {
            let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
            ArrowReaderMetadata::try_new(metadata, options).map_err(|error| error.to_string())
        })?;
        self.mask = ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied());
        Ok(())
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        loop {
            let Some(present) = &mut self.present else {
                if !self.advance()? {
                    return Ok(None);
                }
                continue;
            };
            let number = self.group - 1;
            self.pages.begin_batch();
            let batch =
                guarded(|| present.reader.next().transpose().map_err(|error| damaged(number, &error)))?;
            match batch {
                Some(batch) => {
                    let found = batch.num_rows() as u64;
                    present.left = present.left.checked_sub(found).ok_or_else(|| miscounted(number))?;
                    return Ok(Some(batch));
                }
                None if present.left > 0 => return Err(miscounted(number)),
                None => self.present = None,
            }
        }
    }

    /// Passes over whole row groups.
    fn skip(&mut self, most: u64) -> Result<u64, String> {
        let mut skipped = 0;
        while self.present.is_none()
            && let Some(group) = self.metadata.metadata().row_groups().get(self.group)
            && rows(group)? <= most - skipped
        {
            skipped += rows(group)?;
            self.group += 1;
        }
        Ok(skipped)
    }
}

fn rows(group: &RowGroupMetaData) -> Result<u64, String> {
    u64::try_from(group.num_rows())
        .map_err(|_| "the footer is damaged: a row group has less than no rows".into())
}

fn damaged(group: usize, error: &impl std::fmt::Display) -> String {
    let error: String = error.to_string().chars().take(300).collect();
    format!("row group {group} is damaged or cannot be read: {error}; write the file again")
}

fn miscounted(group: usize) -> String {
    format!("row group {group} has not as many rows as the footer says; write the file again")
}

/// Checks the marks of a file and the length of its footer.
fn check(input: &impl ChunkReader) -> Result<(), String> {
    let fault = |error: ::parquet::errors::ParquetError| error.to_string();
    let length = input.len();
    let first = input.get_bytes(0, length.min(8) as usize).map_err(fault)?;
    if !first.starts_with(MAGIC) {
        return Err(foreign::reason(&first).unwrap_or_else(|| "it does not begin with PAR1".into()));
    }
    let truncated = || "the file is truncated: it does not end with PAR1; write it again".to_string();
    if length < LEAST {
        return Err(truncated());
    }
    let end = input.get_bytes(length - 8, 8).map_err(fault)?;
    let (footer, mark) = end.split_at(4);
    match mark {
        MAGIC => {}
        b"PARE" => return Err("the footer is encrypted; write the file without encryption".into()),
        _ => return Err(truncated()),
    }
    let footer = footer.iter().rev().fold(0, |length, byte| length << 8 | u64::from(*byte));
    if footer > length - LEAST {
        return Err(format!(
            "the footer is damaged: it claims to have {footer} bytes of the {length}; write it again"
        ));
    }
    if footer > LARGEST_FOOTER {
        let most = LARGEST_FOOTER >> 20;
        return Err(format!(
            "a footer of {footer} bytes; at most {most} MiB are read: write larger row groups"
        ));
    }
    let footer = input.get_bytes(length - 8 - footer, footer as usize).map_err(fault)?;
    match footer::depth(&footer) {
        Some(depth) if depth > DEEPEST => {
            Err(format!("columns lie {depth} deep within one another; at most {DEEPEST} are read"))
        }
        Some(_) => Ok(()),
        None => Err("the footer cannot be read: it is damaged; write the file again".into()),
    }
}

/// Returns the column with texts and bytes by reference to their page: a value that a dictionary holds once is held once.
fn by_reference(field: &Arc<Field>) -> Arc<Field> {
    let kind = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(by_reference).collect()),
        _ => return field.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(kind))
}
