//! Decoding of bytes into samples, one file per format: contents of files and of request bodies.
//! Checks shape, dtype and range against the job's format. Where bytes come from and where samples
//! go is decided by the callers.

pub mod api;
pub mod array;
pub mod cifar;
mod foreign;
pub mod idx;
mod image;
pub mod json;
pub mod lines;
mod ndjson;
pub mod npy;
pub mod numbers;
mod options;
pub mod table;

pub use api::{DecodeError, Record, Records, chosen, class, named, plain_number};
pub use cifar::cifar;
pub use idx::idx;
pub use image::image;
pub use ndjson::ndjson;
pub use npy::npy;
pub use options::Options;
pub use table::csv;

use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

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

/// Endings of names of files that can be read.
pub const KNOWN_ENDINGS: &str =
    ".png, .jpg, .jpeg, .jfif, .idx, -ubyte, .bin, .npy, .csv, .ndjson or .jsonl, each with or without .gz";

impl Kind {
    /// Returns the kind that a file name's ending implies, ignoring `.gz`.
    pub fn of(path: &Path) -> Option<Kind> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        if name.ends_with("-ubyte") {
            return Some(Kind::Idx); // the usual names have no extension: train-images-idx3-ubyte
        }
        Some(match name.rsplit_once('.')?.1 {
            "png" | "jpg" | "jpeg" | "jfif" => Kind::Image,
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
        let reason = format!("the end of its name does not say what it holds (known: {KNOWN_ENDINGS})");
        return Err(Error::file(path, reason));
    };
    let input = unpacked(path).map_err(|error| Error::file(path, error))?;
    let fault = |fault: DecodeError| Error::file(path, fault);
    Ok(match kind {
        Kind::Image => Box::new(image::records(input, format, options.resize)),
        Kind::Idx => Box::new(idx(input, format).map_err(fault)?),
        Kind::Cifar => Box::new(cifar(input, format).map_err(fault)?),
        Kind::Npy => Box::new(npy(input, format).map_err(fault)?),
        Kind::Csv => Box::new(csv(input, format, &options.table, |told| tracing::debug!("{told}"))),
        Kind::Ndjson => Box::new(ndjson(input, format)),
    })
}

/// Refuses what is not a regular file. It is not opened: opening a pipe waits until somebody writes to it.
pub fn regular(path: &Path) -> std::io::Result<()> {
    let kind = std::fs::metadata(path)?.file_type();
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err(std::io::Error::other("this is a folder, but a file is needed")),
        _ => Err(std::io::Error::other(
            "this is a pipe, a device or a socket, but a file is needed; a job reads a pipe as its standard input, \
             with source.kind = \"lines\"",
        )),
    }
}

/// Opens the content of a file, unpacked if it is gzip. It is unpacked piece by piece, as it is read, so that only
/// the decoder's bounds matter.
pub fn unpacked(path: &Path) -> std::io::Result<Box<dyn BufRead + Send>> {
    regular(path)?;
    let mut packed = BufReader::with_capacity(1 << 16, File::open(path)?);
    if !packed.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(packed));
    }
    let unpacked: Box<dyn Read + Send> = Box::new(flate2::bufread::MultiGzDecoder::new(packed));
    Ok(Box::new(BufReader::with_capacity(1 << 16, unpacked)))
}
