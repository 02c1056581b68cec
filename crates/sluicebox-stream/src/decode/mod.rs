//! Decoding of bytes into samples, one file per format: contents of files and of request bodies.
//! Checks shape, dtype and range against the job's format. Where bytes come from and where samples
//! go is decided by the callers.

pub mod array;
pub mod cifar;
mod csv;
pub mod idx;
mod image;
mod lines;
mod ndjson;
pub mod npy;
pub mod numbers;

pub use cifar::cifar;
pub use csv::csv;
pub use idx::idx;
pub use image::image;
pub use ndjson::{ndjson, parse};
pub use npy::npy;

use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::GIVEN_IDS;
use sluicebox_core::sample::{Format, Shape, Values};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Id, if the record has one: from 0 to 2^52 - 1.
    pub id: Option<u64>,
    /// Values, in the format's dtype and shape.
    pub values: Values,
    /// Class as written, if given: a name, or a number in digits. [`class`] returns its index; if
    /// the format names its classes, it is one of them.
    pub class: Option<String>,
}

/// Reason why no record was decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The record is bad; the next one may be readable.
    Bad {
        /// Line, or record number in a file without lines, from 1.
        line: u64,
        /// Description of the problem and its remedy.
        reason: String,
        /// Record as written, shortened if long; empty if it is not text.
        text: String,
    },
    /// Nothing more can be read.
    Broken(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Bad { line, reason, .. } => write!(f, "line {line}: {reason}"),
            Fault::Broken(reason) => f.write_str(reason),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Fault::Broken(told(&error))
    }
}

fn told(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the file is truncated".into(),
        _ => error.to_string(),
    }
}

/// Forward reader of records.
pub trait Records: Send {
    /// Returns the next record; None at the end. After [`Fault::Bad`] the following one can be
    /// read.
    fn next_record(&mut self) -> std::result::Result<Option<Record>, Fault>;
}

/// Options of decoding that a file's name does not imply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether to resize images of another size (triangle filter) instead of refusing them.
    pub resize: bool,
    /// Column of the class in CSV, from 0; negative counts from the end.
    pub class_column: Option<i64>,
    /// Column of the id in CSV.
    pub id_column: Option<i64>,
    /// Column separator in CSV.
    pub delimiter: char,
}

impl Default for Options {
    fn default() -> Self {
        Self { resize: false, class_column: None, id_column: None, delimiter: ',' }
    }
}

/// Kind of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PNG or JPEG: one sample.
    Image,
    /// Array format of Y. LeCun.
    Idx,
    /// Records of CIFAR-10 or CIFAR-100.
    Cifar,
    /// Array format of NumPy.
    Npy,
    /// Rows of numbers.
    Csv,
    /// One JSON object or array per line.
    Ndjson,
}

impl Kind {
    /// Returns the kind that a file name's ending implies, ignoring `.gz`.
    pub fn of(path: &Path) -> Option<Kind> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        if name.ends_with("-ubyte") {
            return Some(Kind::Idx); // the usual names have no extension: train-images-idx3-ubyte
        }
        Some(match name.rsplit_once('.')?.1 {
            "png" | "jpg" | "jpeg" => Kind::Image,
            "idx" => Kind::Idx,
            "bin" => Kind::Cifar,
            "npy" => Kind::Npy,
            "csv" => Kind::Csv,
            "ndjson" | "jsonl" => Kind::Ndjson,
            _ => return None,
        })
    }
}

/// Opens the records of a file, whose kind follows from its name; gzip or plain.
pub fn open(path: &Path, format: &Format, options: &Options) -> Result<Box<dyn Records>> {
    let Some(kind) = Kind::of(path) else {
        let reason = "the end of its name does not say what it holds (known: .png, .jpg, .jpeg, .idx, -ubyte, \
                      .bin, .npy, .csv, .ndjson, .jsonl, each with or without .gz)";
        return Err(Error::file(path, reason));
    };
    let input = unpacked(path).map_err(|error| Error::file(path, error))?;
    let fault = |fault: Fault| Error::file(path, fault);
    Ok(match kind {
        Kind::Image => Box::new(image::records(input, format, options.resize)),
        Kind::Idx => Box::new(idx(input, format).map_err(fault)?),
        Kind::Cifar => Box::new(cifar(input, format).map_err(fault)?),
        Kind::Npy => Box::new(npy(input, format).map_err(fault)?),
        Kind::Csv => Box::new(csv(input, format, options)),
        Kind::Ndjson => Box::new(ndjson(input, format)),
    })
}

/// Opens the content of a file, unpacked if it is gzip.
pub fn unpacked(path: &Path) -> std::io::Result<Box<dyn BufRead + Send>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(std::io::Error::other("this is a folder, but a file is needed"));
    }
    let mut packed = BufReader::with_capacity(1 << 16, file);
    if !packed.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(packed));
    }
    let unpacked: Box<dyn Read + Send> = Box::new(flate2::bufread::MultiGzDecoder::new(packed));
    Ok(Box::new(BufReader::with_capacity(1 << 16, unpacked)))
}

/// Returns the index of a class that is given by its name or its number.
pub fn class(classes: &[String], name: &str) -> std::result::Result<usize, String> {
    let named = classes.iter().position(|class| class == name);
    let numbered = || name.parse().ok().filter(|number| *number < classes.len());
    named.or_else(numbered).ok_or_else(|| {
        let known: Vec<&str> = classes.iter().map(String::as_str).collect();
        match known.len() {
            0..=20 => sluicebox_core::config::document::unknown("class", name, &known),
            count => format!("unknown class `{name}`: it is no name and no number of the {count} classes"),
        }
    })
}

/// Returns the class of a record if the format has it, or names no classes.
fn known(format: &Format, name: String) -> std::result::Result<String, String> {
    match format.classes.is_empty() {
        true => Ok(name),
        false => class(&format.classes, &name).map(|_| name),
    }
}

/// Returns an id if records may have it.
fn id(number: u64) -> std::result::Result<u64, String> {
    match number < GIVEN_IDS {
        true => Ok(number),
        false => Err(format!("id {number} is not from 0 to {}", GIVEN_IDS - 1)),
    }
}

/// Checks the dimensions of one sample: flat, equal to the shape, or without the channel axis if
/// there is one channel only.
fn fits(shape: Shape, dims: &[usize]) -> std::result::Result<(), String> {
    let whole: Vec<usize> = shape.batch(1)[1..].iter().map(|size| *size as usize).collect();
    let flat = dims.len() == 1 && dims[0] == shape.len();
    if flat || dims == whole || (whole[0] == 1 && dims == &whole[1..]) {
        return Ok(());
    }
    let hint = match (whole[..].as_ref(), dims) {
        ([channels, height, width], dims) if dims == [*height, *width, *channels] => {
            "; put the channels first"
        }
        _ => "",
    };
    match dims {
        [count] => Err(format!("{count} values instead of {} ({shape})", shape.len())),
        _ => {
            let sizes: Vec<String> = dims.iter().map(usize::to_string).collect();
            Err(format!("a sample of {} values instead of {shape}{hint}", sizes.join("×")))
        }
    }
}
