//! CSV rows of numbers and a class, in file order, gzip or plain. Features are standardised with
//! running statistics (B. P. Welford, 1962) that start with the first labelled rows and continue
//! over the stream; checkpoints include them.

use crate::source::api::{Context, ReadProgress, Source};
use crate::source::bad_records;
use crate::source::bad_records::{BadRecords, one_percent};
use crate::source::bounded::Bounded;
use crate::source::dead_letter::State as Letters;
use csv::{ByteRecord, Reader, ReaderBuilder};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::document::shortened;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Dtype, Format, Labelled, Samples, Shape, Values};
use sluicebox_core::state::{Stateful, decode, encode};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Position of the class column, from 0; negative counts from the end.
    #[serde(default = "last")]
    pub class_column: i64,
    /// Names of the classes, as in the file. Empty: the file is read once to find them.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Column separator.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// Number of rows, from the first, that are labelled.
    #[serde(default = "three_hundred")]
    pub labelled_first: usize,
    /// Transform of each feature before it is standardised.
    #[serde(default)]
    pub transform: Transform,
    /// Whether to subtract the running mean and divide by the running standard deviation.
    #[serde(default = "yes")]
    pub standardise: bool,
    /// Largest fraction of rows that may be bad.
    #[serde(default = "one_percent")]
    pub max_bad: f64,
    /// File for bad rows; by default `dead-letter.jsonl` in the state folder or the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<PathBuf>,
    /// Whether to start again at the end of the file, for ever.
    #[serde(default)]
    pub repeat: bool,
}

/// Transform of each feature before it is standardised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transform {
    /// No transform.
    #[default]
    None,
    /// sign(x) · ln(1 + |x|): for features that span many orders of magnitude.
    SignedLog1p,
}

fn last() -> i64 {
    -1
}
fn comma() -> char {
    ','
}
fn three_hundred() -> usize {
    300
}
fn yes() -> bool {
    true
}

const MOST_CLASSES: usize = 10_000;

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !self.delimiter.is_ascii() {
            faults.push(("delimiter", format!("`{}` is not one ASCII character", self.delimiter)));
        }
        faults.extend(bad_records::faults(self.max_bad));
        if self.classes.len() == 1 {
            faults.push(("classes", "a job needs two classes or more".into()));
        }
        faults
    }

    fn changeable() -> &'static [&'static str] {
        &["path", "max_bad", "dead_letter", "repeat"]
    }
}

/// Running mean and variance of each feature.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Statistics {
    count: u64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Statistics {
    fn new(features: usize) -> Self {
        Self { count: 0, mean: vec![0.0; features], squares: vec![0.0; features] }
    }

    fn add(&mut self, row: &[f64]) {
        self.count += 1;
        for ((mean, squares), value) in self.mean.iter_mut().zip(&mut self.squares).zip(row) {
            let gap = value - *mean;
            *mean += gap / self.count as f64;
            *squares += gap * (value - *mean);
        }
    }

    fn standardise<'a>(&'a self, row: &'a [f64]) -> impl Iterator<Item = f32> + 'a {
        let moments = self.mean.iter().zip(&self.squares);
        row.iter().zip(moments).map(|(value, (mean, squares))| {
            let variance = squares / self.count.max(2).saturating_sub(1) as f64;
            let deviation = if variance > 1e-12 { variance.sqrt() } else { 1.0 };
            ((value - mean) / deviation) as f32
        })
    }
}

/// Position of the stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Position {
    /// Offset of the next row in the unpacked file, in bytes.
    byte: u64,
    /// Line number of that row, from 1.
    line: u64,
    /// Rows read, good and bad, over all passes.
    rows: u64,
    /// Good rows read; also the id of the next one.
    next_id: u64,
    statistics: Statistics,
    letters: Letters,
}

/// An open file, with the byte and the line at which reading began.
type Rows = (u64, u64, Reader<Bounded>);

/// Maximum size of a row, in bytes: a quote that is never closed would make the rest of the file one row.
const LONGEST_ROW: u64 = 16 << 20;
/// Characters of a bad row that are kept.
const KEPT: usize = 4 << 10;

/// Reads the next row; returns false at the end.
fn next_row(rows: &mut Reader<Bounded>, row: &mut ByteRecord) -> ::csv::Result<bool> {
    rows.get_mut().renew();
    rows.read_byte_record(row)
}

struct Csv {
    options: Settings,
    format: Format,
    width: usize,
    class_column: usize,
    header: bool,
    position: Position,
    rows: Option<Rows>,
    bad: BadRecords,
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let fault = |reason: String| Error::file(&options.path, reason);
    let mut rows = reader(&options, 0)?;
    let mut first = ByteRecord::new();
    if !next_row(&mut rows, &mut first).map_err(|error| fault(error.to_string()))? {
        return Err(fault("there is no row in it".into()));
    }
    let width = first.len();
    let signed = options.class_column;
    let class_column = if signed < 0 { signed + width as i64 } else { signed };
    if !(0..width as i64).contains(&class_column) || width < 2 {
        let reason = format!("source.class_column is {signed}, but a row has {width} columns");
        return Err(fault(reason));
    }
    let class_column = class_column as usize;
    // The first row is a header if none of its features is a number.
    let mut features = first.iter().enumerate().filter(|(column, _)| *column != class_column);
    let header = features.all(|(_, field)| number(field).is_none());
    let classes = match options.classes.is_empty() {
        false => options.classes.clone(),
        true => find_classes(&options, width, class_column, header)?,
    };
    let mut csv = Csv {
        format: Format {
            shape: Shape::Vector { features: width - 1 },
            dtype: Dtype::F32,
            scale: 1.0,
            classes,
        },
        bad: BadRecords::new(options.max_bad, options.dead_letter.clone(), context),
        position: Position {
            byte: 0,
            line: 1,
            rows: 0,
            next_id: 0,
            statistics: Statistics::new(width - 1),
            letters: Letters::default(),
        },
        options,
        width,
        class_column,
        header,
        rows: None,
    };
    csv.rewind()?;
    Ok(Box::new(csv))
}

fn reader(options: &Settings, byte: u64) -> Result<Reader<Bounded>> {
    let input = Bounded::new(crate::source::api::open(&options.path, byte)?, LONGEST_ROW);
    let mut builder = ReaderBuilder::new();
    Ok(builder.has_headers(false).flexible(true).delimiter(options.delimiter as u8).from_reader(input))
}

fn number(field: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(field).ok()?.trim().parse().ok()?;
    value.is_finite().then_some(value)
}

/// Returns all classes in the file: in numerical order if all are numbers, else in text order.
fn find_classes(options: &Settings, width: usize, column: usize, header: bool) -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut rows = reader(options, 0)?;
    let mut row = ByteRecord::new();
    let fault = |reason: String| Error::file(&options.path, reason);
    let mut skip = header;
    while next_row(&mut rows, &mut row).map_err(|error| fault(error.to_string()))? {
        if !std::mem::take(&mut skip) && row.len() == width {
            found.insert(String::from_utf8_lossy(&row[column]).trim().to_string());
        }
        if found.len() > MOST_CLASSES {
            let reason = format!("column {column} has over {MOST_CLASSES} values: is it the class column?");
            return Err(fault(reason));
        }
    }
    if found.len() < 2 {
        return Err(fault(format!(
            "column {column} has {} class(es), but a job needs two or more",
            found.len()
        )));
    }
    let mut classes: Vec<String> = found.into_iter().collect();
    if classes.iter().all(|class| number(class.as_bytes()).is_some()) {
        classes.sort_by(|a, b| number(a.as_bytes()).partial_cmp(&number(b.as_bytes())).unwrap_or(a.cmp(b)));
    }
    Ok(classes)
}

impl Csv {
    /// Moves to the first row of the file.
    fn rewind(&mut self) -> Result<()> {
        self.position.byte = 0;
        self.position.line = 1;
        self.rows = None;
        if self.header {
            self.next_record()?;
        }
        Ok(())
    }

    /// Reads the next row, undecoded; None at the end.
    fn next_record(&mut self) -> Result<Option<ByteRecord>> {
        let (first_byte, first_line, rows) = match &mut self.rows {
            Some(rows) => rows,
            none => {
                let rows = reader(&self.options, self.position.byte)?;
                none.insert((self.position.byte, self.position.line, rows))
            }
        };
        let mut record = ByteRecord::new();
        let read = next_row(rows, &mut record);
        let more = read.map_err(|error| Error::file(&self.options.path, error))?;
        self.position.byte = *first_byte + rows.position().byte();
        self.position.line = *first_line + rows.position().line() - 1;
        Ok(more.then_some(record))
    }

    /// Reads the next good row, not yet standardised; bad rows go to the dead-letter file.
    fn next_row(&mut self) -> Result<Option<(Vec<f64>, usize)>> {
        loop {
            let line = self.position.line;
            let Some(record) = self.next_record()? else {
                self.bad.check_all(&self.options.path, self.position.rows)?;
                return Ok(None);
            };
            self.position.rows += 1;
            match self.parse(&record) {
                Ok(row) => return Ok(Some(row)),
                Err(reason) => {
                    let fields: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
                    let text = fields.join(&self.options.delimiter.to_string());
                    let text: String = text.chars().take(KEPT).collect();
                    self.bad.add(&self.options.path, line, &reason, &text, self.position.rows)?;
                }
            }
        }
    }

    fn parse(&self, record: &ByteRecord) -> Result<(Vec<f64>, usize), String> {
        if record.len() != self.width {
            return Err(format!("{} columns instead of {}", record.len(), self.width));
        }
        let name = String::from_utf8_lossy(&record[self.class_column]);
        let Some(class) = self.format.classes.iter().position(|class| class == name.trim()) else {
            return Err(format!(
                "class `{}` is not one of {}",
                shortened(name.trim()),
                self.format.classes.join(", ")
            ));
        };
        let mut features = Vec::with_capacity(self.width - 1);
        for (column, field) in record.iter().enumerate() {
            if column == self.class_column {
                continue;
            }
            let Some(value) = number(field) else {
                let text = String::from_utf8_lossy(field);
                return Err(format!("`{}` in column {column} is not a finite number", shortened(&text)));
            };
            features.push(match self.options.transform {
                Transform::None => value,
                Transform::SignedLog1p => value.signum() * value.abs().ln_1p(),
            });
        }
        Ok((features, class))
    }

    fn write(&self, row: &[f64], values: &mut Vec<f32>) {
        match self.options.standardise {
            true => values.extend(self.position.statistics.standardise(row)),
            false => values.extend(row.iter().map(|value| *value as f32)),
        }
    }
}

impl Stateful for Csv {
    fn save(&self) -> Result<Vec<u8>> {
        let position = Position { letters: self.bad.state(), ..self.position.clone() };
        encode("the source", &position)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.position = decode("the source", state)?;
        self.rows = None;
        self.bad.restore(self.position.letters.clone())
    }
}

impl Source for Csv {
    fn format(&self) -> &Format {
        &self.format
    }

    fn labelled(&mut self) -> Result<Labelled> {
        let mut rows = Vec::new();
        while rows.len() < self.options.labelled_first {
            let Some(row) = self.next_row()? else {
                let reason = format!(
                    "has {} good rows, but source.labelled_first is {}",
                    rows.len(),
                    self.options.labelled_first
                );
                return Err(Error::file(&self.options.path, reason));
            };
            self.position.statistics.add(&row.0);
            self.position.next_id += 1;
            rows.push(row);
        }
        let mut values = Vec::new();
        rows.iter().for_each(|(row, _)| self.write(row, &mut values));
        let classes = rows.iter().map(|(_, class)| *class as i64).collect();
        Ok(Labelled { values: Values::F32(values), classes })
    }

    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        for _ in 0..count {
            let row = match self.next_row()? {
                Some(row) => row,
                None if self.options.repeat => {
                    self.rewind()?;
                    match self.next_row()? {
                        Some(row) => row,
                        None => return Ok(ReadProgress::End),
                    }
                }
                None => return Ok(ReadProgress::End),
            };
            let Values::F32(values) = &mut samples.values else {
                return Err(Error::Engine("rows are f32".into()));
            };
            self.position.statistics.add(&row.0);
            self.write(&row.0, values);
            samples.ids.push(self.position.next_id);
            samples.truth.push(Some(row.1));
            self.position.next_id += 1;
        }
        Ok(ReadProgress::Full)
    }

    /// Returns rows from the first on, standardised with the statistics of the checkpoint.
    fn evaluation(&mut self, state: &[u8], _streamed: u64, limit: usize) -> Result<Option<Labelled>> {
        let saved: Position = decode("the source", state)?;
        self.position.statistics = saved.statistics;
        let (mut values, mut classes) = (Vec::new(), Vec::new());
        while classes.len() < limit {
            let Some((row, class)) = self.next_row()? else { break };
            self.write(&row, &mut values);
            classes.push(class as i64);
        }
        Ok(Some(Labelled { values: Values::F32(values), classes }))
    }

    fn dead_letters(&self) -> u64 {
        self.bad.count()
    }

    fn reasons(&self) -> Vec<(String, u64)> {
        self.bad.reasons()
    }
}
