//! The rows of a batch of columns as samples.

use crate::decode::api::{DecodeError, Record, chosen, fits, known};
use crate::decode::axes::{self, Axes};
use crate::decode::columns::categories::Texts;
use crate::decode::columns::layout::{Content, Layout};
use crate::decode::columns::lists::Lists;
use crate::decode::columns::names::Names;
use crate::decode::columns::numbers::Numbers;
use crate::decode::image::image;
use crate::decode::options::Options;
use crate::decode::table::Encoding;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use sluicebox_core::sample::{Dtype, Format, Shape, Values};
use std::collections::HashMap;

/// Largest encoded image, in bytes.
const LARGEST_IMAGE: usize = 64 << 20;

/// Samples of a file, batch after batch.
pub struct Rows {
    layout: Layout,
    format: Format,
    options: Options,
    /// Rows of earlier batches, and rows that were skipped.
    before: u64,
    batch: Option<Batch>,
}

struct Batch {
    rows: usize,
    /// Rows that were read.
    at: usize,
    class: Option<Names>,
    id: Option<Names>,
    values: Part,
}

/// The values of a batch.
enum Part {
    /// All of them, row by row, and what is wrong with a row.
    Numbers(Values, HashMap<usize, String>),
    Lists(Lists),
    Images(ArrayRef),
    Nothing,
}

impl Rows {
    /// Creates samples of `format` from columns as `layout` says.
    pub fn new(layout: Layout, format: &Format, options: &Options) -> Self {
        Self { layout, format: format.clone(), options: options.clone(), before: 0, batch: None }
    }

    /// Passes over rows that are in no batch.
    pub fn pass_over(&mut self, rows: u64) {
        self.before += rows;
    }

    /// Returns the number of rows that are left of the batch.
    pub fn left(&self) -> u64 {
        self.batch.as_ref().map_or(0, |batch| (batch.rows - batch.at) as u64)
    }

    /// Passes over at most `rows` rows of the batch; returns how many.
    pub fn skip(&mut self, rows: u64) -> u64 {
        let skipped = self.left().min(rows);
        if let Some(batch) = &mut self.batch {
            batch.at += skipped as usize;
        }
        skipped
    }

    /// Takes the next batch; the error says which column is not as the schema promises.
    pub fn take(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let layout = &self.layout;
        self.before += self.batch.take().map_or(0, |batch| batch.rows as u64);
        let column = |at: usize| {
            let missing = || format!("a part of the file has no column `{}`", layout.names[at]);
            batch.columns().get(at).ok_or_else(missing)
        };
        let other = |at: usize, array: &ArrayRef| {
            format!("column `{}` holds {} in a part of the file", layout.names[at], array.data_type())
        };
        let names = |at: usize| {
            let array = column(at)?;
            Names::of(array).ok_or_else(|| other(at, array))
        };
        let rows = batch.num_rows();
        let values = match &layout.content {
            Content::Nothing => Part::Nothing,
            Content::Images(at) => Part::Images(column(*at)?.clone()),
            Content::Lists(at) => {
                let array = column(*at)?;
                Part::Lists(Lists::of(array).ok_or_else(|| other(*at, array))?)
            }
            Content::Numbers(columns) => {
                let table = &self.options.table;
                let (width, may_miss) = (layout.values(), !table.missing.is_drop());
                let mut values = match self.format.dtype {
                    Dtype::U8 => Values::U8(vec![0; rows * width]),
                    Dtype::F32 => Values::F32(vec![0.0; rows * width]),
                };
                let mut bad = HashMap::new();
                let mut place = 0;
                for (at, encoding) in columns.iter().zip(&layout.encodings) {
                    let (array, name) = (column(*at)?, &layout.names[*at]);
                    if *encoding == Encoding::Number {
                        let numbers = Numbers::of(&**array).ok_or_else(|| other(*at, array))?;
                        numbers.fill(&mut values, (place, width), may_miss, |row, reason| {
                            bad.entry(row).or_insert_with(|| format!("column `{name}`: {reason}"));
                        });
                    } else {
                        let texts = Texts::of(array).ok_or_else(|| other(*at, array))?;
                        texts.fill(&mut values, (place, width), encoding, name, table, |row, reason| {
                            bad.entry(row).or_insert_with(|| format!("column `{name}`: {reason}"));
                        });
                    }
                    place += encoding.width();
                }
                if let Values::F32(values) = &values
                    && may_miss
                {
                    let rows = values.chunks_exact(width).enumerate();
                    let none = rows.filter(|(_, sample)| sample.iter().all(|value| value.is_nan()));
                    bad.extend(none.map(|(row, _)| (row, "all its values are missing".to_string())));
                }
                Part::Numbers(values, bad)
            }
        };
        let (class, id) = (layout.class.map(names).transpose()?, layout.id.map(names).transpose()?);
        self.batch = Some(Batch { rows, at: 0, class, id, values });
        Ok(())
    }

    /// Returns the next sample of the batch; None at its end.
    pub fn next(&mut self) -> Option<Result<Record, DecodeError>> {
        let batch = self.batch.as_mut().filter(|batch| batch.at < batch.rows)?;
        let row = batch.at;
        batch.at += 1;
        let line = self.before + batch.at as u64;
        let record = batch.record(row, &self.layout, &self.format, &self.options);
        Some(record.map_err(|reason| DecodeError::Bad { line, reason, text: String::new() }))
    }
}

impl Batch {
    fn record(
        &self,
        row: usize,
        layout: &Layout,
        format: &Format,
        options: &Options,
    ) -> Result<Record, String> {
        let values = self.values.sample(row, format, options)?;
        let class = match &self.class {
            None => None,
            Some(names) => names.class(row, layout.classes.as_deref())?,
        };
        let class = class.filter(|name| !options.table.is_missing(name.as_bytes()));
        let class = class.map(|name| known(format, name)).transpose()?;
        let id = self.id.as_ref().map(|names| names.id(row)).transpose()?.flatten();
        Ok(Record { id: id.map(chosen).transpose()?, values, class })
    }
}

impl Part {
    fn sample(&self, row: usize, format: &Format, options: &Options) -> Result<Values, String> {
        match self {
            Part::Nothing => Ok(Values::none(format.dtype)),
            Part::Numbers(values, bad) => {
                if let Some(reason) = bad.get(&row) {
                    return Err(reason.clone());
                }
                let length = format.shape.len();
                let mut sample = Values::none(format.dtype);
                sample.reserve(length);
                sample.extend_from(values, row * length..(row + 1) * length);
                Ok(sample)
            }
            Part::Lists(lists) => {
                let (dims, range) = lists.sample(row)?;
                let last = channels_last(format.shape, &dims);
                if !last {
                    fits(format.shape, &dims)?;
                }
                let mut sample = Values::none(format.dtype);
                sample.reserve(range.len());
                lists.numbers.push(range, &mut sample)?;
                match last {
                    false => Ok(sample),
                    true => Ok(Axes::of(&dims, axes::Layout::ChannelsLast, false)?.ordered(sample)),
                }
            }
            Part::Images(array) => image(encoded(array, row)?, format, options),
        }
    }
}

/// Returns whether a sample has the format's shape with the channels behind height and width, and not before them.
fn channels_last(shape: Shape, dims: &[usize]) -> bool {
    match shape {
        Shape::Image { channels, height, width } => {
            dims == [height, width, channels] && dims != [channels, height, width]
        }
        Shape::Vector { .. } => false,
    }
}

/// Returns the bytes of the image in a row.
pub(super) fn encoded(array: &ArrayRef, row: usize) -> Result<&[u8], String> {
    if array.is_null(row) {
        return Err("the image is missing".into());
    }
    let Some(fields) = array.as_struct_opt() else { return bytes(array, row) };
    let within = fields.column_by_name("bytes").ok_or("a part of the file has no bytes of images")?;
    if within.is_null(row) {
        return Err(
            "the bytes of the image are missing: the file only says where it was; write it with the images \
                    in it (in Hugging Face datasets: embed_external_files, or load the images before saving)"
                .into(),
        );
    }
    bytes(within, row)
}

fn bytes(array: &ArrayRef, row: usize) -> Result<&[u8], String> {
    let bytes = match array.data_type() {
        DataType::Binary => array.as_binary_opt::<i32>().map(|bytes| bytes.value(row)),
        DataType::LargeBinary => array.as_binary_opt::<i64>().map(|bytes| bytes.value(row)),
        _ => array.as_binary_view_opt().map(|bytes| bytes.value(row)),
    };
    let bytes = bytes.ok_or_else(|| format!("the images are {}", array.data_type()))?;
    match bytes.len() <= LARGEST_IMAGE {
        true => Ok(bytes),
        false => Err(format!("an image of more than {} MiB", LARGEST_IMAGE >> 20)),
    }
}
