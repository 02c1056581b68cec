//! From bytes to samples, one file a kind: what files hold and what bodies of requests hold.
//! Shape, dtype and range are checked against the job's format here; where the bytes come
//! from, and what becomes of the samples, is decided elsewhere.

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

use crate::error::{Error, Result};
use crate::intake::GIVEN_IDS;
use crate::samples::{Format, Shape, Values};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its name, where it has one: from 0 to 2^52 - 1.
    pub id: Option<u64>,
    /// Its values, in the format's dtype and as many as its shape says.
    pub values: Values,
    /// Its class as it was written, where it was: a name, or a number as digits. [`class`] says
    /// which it is; where the format names its classes, it is one of them.
    pub class: Option<String>,
}

/// Why a record cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is bad; the next one may be read.
    Bad {
        /// Its line, or its number in a file without lines, from 1.
        line: u64,
        /// What is wrong and what to do.
        reason: String,
        /// The record as it was written, cut where it is long; empty where it is no text.
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

/// Records, read forward.
pub trait Records: Send {
    /// The next record; none at the end. After [`Fault::Bad`] the one behind it can be read.
    fn next_record(&mut self) -> std::result::Result<Option<Record>, Fault>;
}

/// What the name of a file does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Images of another size are resized (triangle filter) instead of refused.
    pub resize: bool,
    /// Column of the class in CSV, from 0; negative counts from the end.
    pub class_column: Option<i64>,
    /// Column of the id in CSV.
    pub id_column: Option<i64>,
    /// What stands between columns in CSV.
    pub delimiter: char,
}

impl Default for Options {
    fn default() -> Self {
        Self { resize: false, class_column: None, id_column: None, delimiter: ',' }
    }
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PNG or JPEG: one sample.
    Image,
    /// Y. LeCun's array format.
    Idx,
    /// CIFAR-10's or CIFAR-100's records.
    Cifar,
    /// NumPy's array format.
    Npy,
    /// Rows of numbers.
    Csv,
    /// A JSON object or array a line.
    Ndjson,
}

impl Kind {
    /// What the end of a file's name says it holds, `.gz` apart.
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

/// The records of a file, told apart by the end of its name; gzip or plain.
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

/// The content of a file, unpacked where it is gzip.
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

/// The number of a class, from how a record names it: by its name, or by its number.
pub fn class(classes: &[String], name: &str) -> std::result::Result<usize, String> {
    let named = classes.iter().position(|class| class == name);
    let numbered = || name.parse().ok().filter(|number| *number < classes.len());
    named.or_else(numbered).ok_or_else(|| {
        let known: Vec<&str> = classes.iter().map(String::as_str).collect();
        match known.len() {
            0..=20 => crate::document::unknown("class", name, &known),
            count => format!("unknown class `{name}`: it is no name and no number of the {count} classes"),
        }
    })
}

/// The class of a record, if it is one of the format's, or the format names none.
fn known(format: &Format, name: String) -> std::result::Result<String, String> {
    match format.classes.is_empty() {
        true => Ok(name),
        false => class(&format.classes, &name).map(|_| name),
    }
}

/// An id, if a record may have it.
fn id(number: u64) -> std::result::Result<u64, String> {
    match number < GIVEN_IDS {
        true => Ok(number),
        false => Err(format!("id {number} is not from 0 to {}", GIVEN_IDS - 1)),
    }
}

/// Checks the dimensions of one sample: flat, as the shape says, or without the channel where
/// there is but one.
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
