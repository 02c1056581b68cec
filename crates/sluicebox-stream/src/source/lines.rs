//! Source of samples on standard input, as lines of JSON or CSV. One thread reads, another writes
//! the samples to the write-ahead log; while the log is full, the program that writes to the pipe
//! blocks.
//!
//! Samples in the log survive a crash. Samples still in the pipe do not: a pipe cannot be read
//! again.

use crate::decode;
use crate::decode::missing;
use crate::decode::table;
use crate::decode::text_encoding::TextEncoding;
use crate::decode::{DecodeError, Form, Keys, Missing, Record, Records};
use crate::ingest::IngestContext;
use crate::ingest::{Ingest, Refusal};
use crate::source::api::{Context, Source};
use crate::source::bad_records;
use crate::source::bad_records::{BadRecords, one_percent};
use crate::source::filled;
use crate::source::logged::{Filler, Logged};
use crate::source::sample_format::SampleFormatOptions;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Block, Dtype, SampleClass, sample_bytes};
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `[features]`, or `[channels, height, width]`.
    pub shape: Vec<usize>,
    /// `u8` or `f32`.
    pub dtype: Dtype,
    /// Factor from a value to the model's input; by default 1/255 for u8 and 1 for f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Encoding of a sample.
    #[serde(default)]
    pub format: LineFormat,
    /// Column of the class: its name in the header, or its place from 0 (negative from the end). By default the one that
    /// a header names `label`, `class`, `target` or `y`.
    #[serde(default, alias = "class_column", skip_serializing_if = "Option::is_none")]
    pub class: Option<table::Column>,
    /// Column of the id, by name or place; by default a header's `id`.
    #[serde(default, alias = "id_column", skip_serializing_if = "Option::is_none")]
    pub id: Option<table::Column>,
    /// Columns of the values, in this order, by name or place; by default all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub features: Vec<table::Column>,
    /// Columns that are not read, by name or place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub ignore: Vec<table::Column>,
    /// Whether the first row of a table is a header: `"auto"`, `true` or `false`.
    #[serde(default, skip_serializing_if = "table::Header::is_auto")]
    #[schemars(!skip_serializing_if)]
    pub header: table::Header,
    /// Character between the columns of a table.
    #[serde(default = "table::comma")]
    pub delimiter: char,
    /// First character of the lines of a table that are comments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<char>,
    /// Encoding of a text: `"auto"` (UTF-8, or UTF-16 with a mark), `"utf-16"` or `"latin-1"`.
    #[serde(default, skip_serializing_if = "TextEncoding::is_auto")]
    #[schemars(!skip_serializing_if)]
    pub encoding: TextEncoding,
    /// Columns of categories: a table of columns with their categories, or with a number of values to hash them into.
    #[serde(default, skip_serializing_if = "table::Categorical::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub categorical: table::Categorical,
    /// What is done with a sample of which a feature is missing.
    #[serde(default, skip_serializing_if = "Missing::is_drop")]
    #[schemars(!skip_serializing_if)]
    pub missing: Missing,
    /// Texts that stand for a missing feature, or for a class that is not known; upper or lower case.
    #[serde(default = "missing::missing_markers", skip_serializing_if = "missing::are_usual_markers")]
    #[schemars(!skip_serializing_if)]
    pub missing_markers: Vec<String>,
    /// Largest fraction of lines that may be bad.
    #[serde(default = "one_percent")]
    pub max_bad: f64,
    /// File for bad lines; by default `dead-letter.jsonl` in the state folder or the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<PathBuf>,
}

/// Encoding of a sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LineFormat {
    /// One JSON object or array per line.
    #[default]
    Ndjson,
    /// Comma-separated numbers; a header may name `id` and `label`.
    Csv,
}

/// Name of the input in messages.
const INPUT: &str = "standard input";
/// Maximum samples per write to the log, and maximum samples that wait for it.
const MAX_BATCH: usize = 1024;
/// Maximum bytes of values per write to the log, unless one sample alone has more.
const MAX_BATCH_BYTES: usize = 1 << 20;

impl Settings {
    fn sample_format(&self) -> SampleFormatOptions {
        let Settings { shape, dtype, scale, classes, .. } = self.clone();
        SampleFormatOptions { shape, dtype, scale, classes }
    }

    fn table(&self) -> table::Options {
        table::Options {
            delimiter: self.delimiter,
            header: self.header,
            class: self.class.clone(),
            id: self.id.clone(),
            features: self.features.clone(),
            ignore: self.ignore.clone(),
            comment: self.comment,
            encoding: self.encoding,
            categorical: self.categorical.clone(),
            missing: self.missing,
            missing_markers: self.missing_markers.clone(),
            ..table::Options::default()
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.sample_format().faults();
        faults.extend(bad_records::faults(self.max_bad));
        faults.extend(self.table().faults());
        faults.extend(self.categorical.not_found());
        faults.extend(filled::fault(self.missing, Some(self.dtype)));
        if self.format == LineFormat::Ndjson {
            faults.extend(Keys::faults(&self.table(), &self.sample_format().format()));
        }
        faults
    }

    fn changeable() -> &'static [&'static str] {
        &["max_bad", "dead_letter"]
    }
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let (format, table) = (options.sample_format().format(), options.table());
    let missing = options.missing;
    let context = context.clone();
    let filler = Arc::new(Filler::default());
    let writers = filler.clone();
    let start = move |live: &IngestContext, stream: u16| {
        let input = std::io::stdin();
        if input.is_terminal() {
            tracing::info!("reading samples from this terminal, one per line; press Ctrl-D to end");
        }
        let bad = BadRecords::new(options.max_bad, options.dead_letter.clone(), &context);
        fill(BufReader::with_capacity(1 << 16, input), &options, bad, live, stream, writers.clone())
    };
    let form = Form::of(decode::Options { table, ..decode::Options::default() }, &format);
    let source = Logged::new(format, Box::new(start)).filled_by(filler).in_form(form);
    Ok(filled::filled(Box::new(source), missing))
}

/// A sample with its record number, or the reason why there is none.
type Line = Result<(u64, Record), DecodeError>;

/// Starts the two threads that fill the stream from `input`.
fn fill(
    input: impl BufRead + Send + 'static,
    options: &Settings,
    bad: BadRecords,
    live: &IngestContext,
    stream: u16,
    filler: Arc<Filler>,
) -> Result<()> {
    let format = options.sample_format().format();
    let records: Box<dyn Records> = match options.format {
        LineFormat::Ndjson => {
            let keys = Keys::of(&options.table(), &format).map_err(Error::Request)?;
            Box::new(decode::ndjson(input, &format, keys))
        }
        LineFormat::Csv => {
            Box::new(decode::csv(input, &format, &options.table(), |told| tracing::info!("{INPUT}: {told}")))
        }
    };
    // With its ids, a batch of even the smallest samples fits into what the log takes at once.
    let bytes = MAX_BATCH_BYTES.min((live.ingest.log().most_at_once() / 16) as usize);
    let batch = (bytes / sample_bytes(&format)).clamp(1, MAX_BATCH);
    let (sender, lines) = mpsc::channel(batch);
    let ingest = LineIngest {
        ingest: live.ingest.clone(),
        runtime: live.runtime.clone(),
        stream,
        bad,
        lines: 0,
        filler: filler.clone(),
    };
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        let thread = std::thread::Builder::new().name(name.into()).spawn(body);
        thread.map(drop).map_err(|error| Error::Engine(format!("cannot read {INPUT}: {error}")))
    };
    let guard = filler.clone();
    spawn("lines-take", Box::new(move || guard.guard("lines-take", || ingest.run(lines, batch))))?;
    // The sender goes last: without it the input looks as if it had ended.
    spawn("lines-read", Box::new(move || filler.guard("lines-read", || read(records, &sender))))
}

/// Hands on one line after the other until the input ends or the receiver is gone.
fn read(mut records: Box<dyn Records>, sender: &mpsc::Sender<Line>) {
    for number in 1.. {
        let line = match records.next_record() {
            Ok(None) => return,
            Ok(Some(record)) => Ok((number, record)),
            Err(fault) => Err(fault),
        };
        let broken = matches!(line, Err(DecodeError::Broken(_)));
        if sender.blocking_send(line).is_err() || broken {
            return;
        }
    }
}

/// Writes the decoded lines to the log.
struct LineIngest {
    ingest: Arc<Ingest>,
    runtime: tokio::runtime::Handle,
    stream: u16,
    bad: BadRecords,
    /// Lines so far, good and bad.
    lines: u64,
    filler: Arc<Filler>,
}

/// A sample with its record number and, if known, its class.
struct Sample {
    line: u64,
    record: Record,
    class: Option<u32>,
}

impl LineIngest {
    fn run(mut self, mut inbox: mpsc::Receiver<Line>, batch: usize) {
        let mut lines = Vec::new();
        let ended = loop {
            // Lines are written as soon as they arrive, however few, so that a slow program sees no
            // delay.
            if inbox.blocking_recv_many(&mut lines, batch) == 0 {
                if self.lines == 0 {
                    tracing::warn!("{INPUT} has ended, and there was no line in it");
                }
                break self.bad.check_all(Path::new(INPUT), self.lines);
            }
            if let Err(error) = self.take(lines.drain(..)) {
                break Err(error);
            }
        };
        match ended {
            Ok(()) => self.filler.end(),
            Err(error) => self.filler.fail(error.to_string()),
        }
    }

    fn take(&mut self, lines: impl Iterator<Item = Line>) -> Result<()> {
        let mut samples = Vec::new();
        for line in lines {
            self.lines += 1;
            match line {
                Ok((line, record)) => {
                    let class = |name: &String| decode::class(&self.ingest.format().classes, name);
                    match record.class.as_ref().map(class).transpose() {
                        Ok(class) => {
                            samples.push(Sample { line, record, class: class.map(|class| class as u32) })
                        }
                        Err(reason) => self.keep_bad(line, &reason, "")?,
                    }
                }
                Err(DecodeError::Bad { line, reason, text }) => self.keep_bad(line, &reason, &text)?,
                Err(DecodeError::Broken(reason)) => {
                    return Err(Error::Request(format!("{INPUT} cannot be read: {reason}")));
                }
            }
        }
        let named = |sample: &Sample| sample.record.id.is_some();
        samples.chunk_by(|a, b| named(a) == named(b)).try_for_each(|alike| self.take_alike(alike))
    }

    /// Ingests samples that all have an id, or all have none. If they are refused together, each is
    /// tried alone, so that one bad sample does not affect the others.
    fn take_alike(&mut self, samples: &[Sample]) -> Result<()> {
        let mut block = Block::default();
        for (at, sample) in samples.iter().enumerate() {
            sample.record.id.iter().for_each(|id| block.push_id(id.clone()));
            block.classes.extend(sample.class.map(|class| SampleClass { at: at as u32, class }));
            block.push(&sample.record.values);
        }
        match self.runtime.block_on(self.ingest.take(self.stream, block, None)) {
            Ok(_) => Ok(()),
            Err(Refusal::Failed(error)) => Err(error),
            Err(refusal) => match samples {
                [one] => self.keep_bad(one.line, &refusal.to_string(), ""),
                many => many.chunks(1).try_for_each(|one| self.take_alike(one)),
            },
        }
    }

    fn keep_bad(&mut self, line: u64, reason: &str, text: &str) -> Result<()> {
        self.ingest.count("bad-line");
        let kept = self.bad.add(Path::new(INPUT), line, reason, text, self.lines);
        self.filler.set_dead_letters(self.bad.count(), || self.bad.reasons());
        kept
    }
}
