//! The rows of a batch of columns as samples.

use crate::decode::api::{DecodeError, Record, chosen, fits};
use crate::decode::axes::{self, Axes};
use crate::decode::columns::categories::{Encoded, Texts};
use crate::decode::columns::classes::Classes;
use crate::decode::columns::layout::{Content, Layout};
use crate::decode::columns::lists::Lists;
use crate::decode::columns::names::Names;
use crate::decode::columns::numbers::Numbers;
use crate::decode::image::image;
use crate::decode::options::Options;
use crate::decode::run::Run;
use crate::decode::table::Encoding;
use crate::decode::together;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use sluicebox_core::sample::{Format, Shape, Values};
use sluicebox_core::sample_id::SampleId;
use std::collections::{BTreeMap, VecDeque};

/// Largest encoded image, in bytes.
const LARGEST_IMAGE: usize = 64 << 20;

/// Values of numbers that are written together, so that their samples stay in the processor's cache.
const TOGETHER: usize = 4096;

/// How the rows of a batch become samples.
#[derive(Clone)]
pub struct Recipe {
    /// What the columns of a batch are.
    pub layout: Layout,
    /// Format of the samples.
    pub format: Format,
    /// Options of decoding.
    pub options: Options,
}

/// Samples of a file, batch after batch.
pub struct Rows {
    recipe: Recipe,
    /// Rows of earlier batches, and rows that were skipped.
    before: u64,
    batch: Option<Batch>,
}

/// The rows of a batch.
pub struct Batch {
    rows: usize,
    /// Rows that were read.
    at: usize,
    /// Images of the rows that come next, which were decoded together.
    ready: VecDeque<Result<Values, String>>,
    class: Option<Classes>,
    id: Option<Names>,
    values: Part,
}

/// A column of a batch that becomes one value or more.
enum Column<'l> {
    Numbers(Numbers),
    Categories(Encoded<'l>),
}

/// The values of a batch.
enum Part {
    /// All of them, row by row, and what is wrong with a row.
    Numbers(Values, BTreeMap<usize, String>),
    Lists(Lists),
    Images(ArrayRef),
    Nothing,
}

impl Rows {
    /// Creates samples as a recipe says.
    pub fn new(recipe: Recipe) -> Self {
        Self { recipe, before: 0, batch: None }
    }

    /// Returns how they are made.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
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
            batch.ready.clear();
        }
        skipped
    }

    /// Lets go of the batch, which is done, and returns the room of its values.
    pub fn finish(&mut self) -> Option<Values> {
        let batch = self.batch.take()?;
        self.before += batch.rows as u64;
        match batch.values {
            Part::Numbers(values, _) => Some(values),
            _ => None,
        }
    }

    /// Takes the next batch.
    pub fn take(&mut self, batch: Batch) {
        self.finish();
        self.batch = Some(batch);
    }

    /// Returns the next sample of the batch; None at its end.
    pub fn next(&mut self) -> Option<Result<Record, DecodeError>> {
        let batch = self.batch.as_mut().filter(|batch| batch.at < batch.rows)?;
        let row = batch.at;
        batch.at += 1;
        let line = self.before + batch.at as u64;
        let record = batch.record(row, &self.recipe.format, &self.recipe.options);
        Some(record.map_err(|reason| DecodeError::Bad { line, reason, text: String::new() }))
    }

    /// Appends the next samples of the batch to `run`, at most `most` and up to a bad one, if their values lie together
    /// or are images, which are decoded together; returns how many.
    pub fn next_run(&mut self, most: usize, run: &mut Run) -> usize {
        let Recipe { format, options, .. } = &self.recipe;
        let Some(batch) = &mut self.batch else { return 0 };
        match batch.values {
            Part::Images(_) => batch.run_of_images(most, run, format, options),
            _ => batch.run(most, run),
        }
    }
}

impl Recipe {
    /// Makes samples of a batch, in the room of values that are done with; the error says which column is not as the
    /// schema promises.
    pub fn batch(&self, batch: &RecordBatch, empty: Option<Values>) -> Result<Batch, String> {
        let layout = &self.layout;
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
                let lists = Lists::of(array, layout.sizes.as_deref()).ok_or_else(|| other(*at, array))?;
                match self.together(&lists, rows, empty) {
                    Some(values) => Part::Numbers(values, BTreeMap::new()),
                    None => Part::Lists(lists),
                }
            }
            Content::Numbers(columns) => {
                let table = &self.options.table;
                let mut parts = Vec::with_capacity(columns.len());
                for (at, encoding) in columns.iter().zip(&layout.encodings) {
                    let array = column(*at)?;
                    let name = layout.names[*at].as_str();
                    let taken = match encoding {
                        Encoding::Number => Numbers::of(&**array).map(Column::Numbers),
                        _ => Texts::of(array)
                            .map(|texts| Column::Categories(Encoded { texts, encoding, name })),
                    };
                    parts.push((taken.ok_or_else(|| other(*at, array))?, encoding.width(), name));
                }
                let (width, may_miss) = (layout.values(), !table.missing.is_drop());
                let mut values = empty.unwrap_or_else(|| Values::none(self.format.dtype));
                // What is left of another batch is written over, but categories write no zeros.
                if layout.encodings.iter().any(|encoding| *encoding != Encoding::Number) {
                    values = Values::none(self.format.dtype);
                }
                resized(&mut values, rows * width);
                let mut bad = BTreeMap::new();
                let together = (TOGETHER / width.max(1)).max(1);
                for first in (0..rows).step_by(together) {
                    let (some, mut at) = (first..rows.min(first + together), 0);
                    for (column, own, name) in &parts {
                        let bad = |row: usize, reason: String| {
                            bad.entry(row).or_insert_with(|| format!("column `{name}`: {reason}"));
                        };
                        let place = (at, width);
                        match column {
                            Column::Numbers(numbers) => {
                                numbers.fill(some.clone(), &mut values, place, may_miss, bad);
                            }
                            Column::Categories(encoded) => {
                                encoded.fill(some.clone(), &mut values, place, table, bad);
                            }
                        }
                        at += own;
                    }
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
        let listed = layout.classes.as_deref();
        let class = class.map(|names| Classes::of(&names, rows, listed, &self.format, &self.options.table));
        Ok(Batch { rows, at: 0, ready: VecDeque::new(), class, id, values })
    }

    /// Returns the values of all lists if each is a good sample as it lies; None if they have to be taken one by one.
    fn together(&self, lists: &Lists, rows: usize, empty: Option<Values>) -> Option<Values> {
        let (dims, numbers) = lists.alike(rows)?;
        if channels_last(self.format.shape, &dims) || fits(self.format.shape, &dims).is_err() {
            return None;
        }
        let mut values = empty.unwrap_or_else(|| Values::none(self.format.dtype));
        resized(&mut values, numbers.len());
        lists.numbers.copy(numbers, &mut values).then_some(values)
    }
}

/// Sets the number of values; what they are is written afterwards.
fn resized(values: &mut Values, count: usize) {
    match values {
        Values::U8(values) => values.resize(count, 0),
        Values::F32(values) => values.resize(count, 0.0),
    }
}

impl Batch {
    fn record(&mut self, row: usize, format: &Format, options: &Options) -> Result<Record, String> {
        let values = match self.ready.pop_front() {
            Some(ready) => ready?,
            None => self.values.sample(row, format, options)?,
        };
        let class = self.class.as_ref().map(|classes| classes.class(row)).transpose()?.flatten();
        let id = self.id.as_ref().map(|names| names.id(row)).transpose()?.flatten();
        Ok(Record { id: id.map(chosen).transpose()?, values, class })
    }

    /// Returns the index of the class and the id of a row, where it has them; None if one of them is bad.
    fn named(&self, row: usize) -> Option<(Option<usize>, Option<SampleId>)> {
        let class = self.class.as_ref().map_or(Some(None), |classes| classes.index(row))?;
        let id = self.id.as_ref().map_or(Ok(None), |names| names.id(row)).ok()?;
        Some((class, id.map(chosen).transpose().ok()?))
    }

    /// Decodes the images of the rows that come next.
    fn decode_together(&mut self, format: &Format, options: &Options) {
        let Part::Images(array) = &self.values else { return };
        let (mut end, mut bytes) = (self.at, 0);
        while end < self.rows.min(self.at + together::SAMPLES) && bytes < together::BYTES {
            bytes += encoded(array, end).map_or(0, together::cost);
            end += 1;
        }
        let (first, values) = (self.at, &self.values);
        let decode = |at: usize| values.sample(first + at, format, options);
        self.ready = together::decoded(end - first, decode).into();
    }

    fn run_of_images(&mut self, most: usize, run: &mut Run, format: &Format, options: &Options) -> usize {
        if self.ready.is_empty() {
            self.decode_together(format, options);
        }
        let first = self.at;
        while self.at - first < most
            && let Some(Ok(values)) = self.ready.front()
        {
            let Some((class, id)) = self.named(self.at) else { break };
            run.push(values, class, id);
            self.ready.pop_front();
            self.at += 1;
        }
        self.at - first
    }

    fn run(&mut self, most: usize, run: &mut Run) -> usize {
        let Part::Numbers(values, bad) = &self.values else { return 0 };
        let (first, mut end) = (self.at, self.rows.min(self.at.saturating_add(most)));
        end = bad.range(first..end).next().map_or(end, |(row, _)| *row);
        for row in first..end {
            let Some((class, id)) = self.named(row) else {
                end = row;
                break;
            };
            run.classes.push(class);
            run.ids.push(id);
        }
        let length = values.len() / self.rows.max(1);
        run.values.extend_from(values, first * length..end * length);
        self.at = end;
        end - first
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
