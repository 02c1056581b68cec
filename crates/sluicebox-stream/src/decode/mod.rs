//! Decoding of bytes into samples, one file per format: contents of files and of request bodies.
//! Checks shape, dtype and range against the job's format. Where bytes come from and where samples
//! go is decided by the callers.

pub mod api;
pub mod array;
mod arrow;
pub mod avro;
pub mod axes;
mod background;
mod blank;
pub mod cifar;
pub mod class_name;
mod columns;
mod foreign;
mod form;
mod gathered;
pub mod idx;
mod image;
pub mod json;
mod keys;
pub mod labels;
pub mod lines;
mod look;
pub mod missing;
mod ndjson;
mod nested;
pub mod npy;
pub mod numbers;
mod options;
pub mod packed;
mod parquet;
mod pixels;
mod run;
pub mod table;
mod tar;
pub mod text_encoding;
pub mod together;
mod unread;

use api::told;
pub use api::{DecodeError, Record, Records, chosen};
use arrow::Messages;
pub use background::Background;
pub use cifar::cifar;
pub use class_name::{class, named};
pub use columns::Wanted;
pub use form::Form;
pub use idx::idx;
pub use image::{image, pixels_of};
pub use keys::Keys;
pub use look::Look;
pub use missing::Missing;
pub use ndjson::ndjson;
pub use npy::npy;
pub use options::Options;
use parquet::RowGroups;
pub use pixels::PixelRange;
pub use run::Run;
pub use table::csv;
pub use tar::tar;
pub use unread::{Unread, is_hidden};

use crate::remote;
use ::parquet::file::reader::ChunkReader;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Dtype, Format};
use std::io::{BufRead, Read};
use std::path::Path;

/// Kind of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PNG, JPEG, WebP, TIFF, GIF or BMP: one sample.
    Image,
    /// Array format of Y. LeCun.
    Idx,
    /// Records of CIFAR-10 or CIFAR-100.
    Cifar,
    /// Array format of NumPy.
    Npy,
    /// Rows of numbers and categories, also ARFF.
    Csv,
    /// One JSON object or array per line.
    Ndjson,
    /// Archive of images, arrays, classes and JSON, as WebDataset writes it.
    Tar,
    /// Columns of Apache Parquet.
    Parquet,
    /// Columns of Apache Arrow: a file or a stream.
    Arrow,
}

/// Endings of names of files that can be read.
pub const KNOWN_ENDINGS: &str = ".png, .jpg, .jpeg, .jfif, .webp, .tif, .tiff, .gif, .bmp, .idx, -ubyte, .bin, .npy, .npz, .csv, .arff, .ndjson, .jsonl, .tar (.tgz), .arrow or .feather, each with or without .gz, .zst, .xz or .zip, and .parquet or .pq";

/// Endings of the names of packed files, behind that of the kind.
const PACKED: [&str; 4] = [".gz", ".zst", ".xz", ".zip"];

impl Kind {
    /// Returns the kind that a file name's ending implies, ignoring how it is packed.
    pub fn of(path: &Path) -> Option<Kind> {
        let name = remote::file_name(path)?.to_lowercase();
        let name = PACKED.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
        if name.ends_with("-ubyte") {
            return Some(Kind::Idx); // the usual names have no extension: train-images-idx3-ubyte
        }
        Some(match name.rsplit_once('.')?.1 {
            ending if image::ENDINGS.contains(&ending) => Kind::Image,
            "idx" => Kind::Idx,
            "bin" => Kind::Cifar,
            "npy" | "npz" => Kind::Npy,
            "csv" | "arff" => Kind::Csv,
            "ndjson" | "jsonl" => Kind::Ndjson,
            "tar" | "tgz" | "tzst" | "txz" => Kind::Tar,
            "parquet" | "pq" => Kind::Parquet,
            "arrow" | "feather" => Kind::Arrow,
            _ => return None,
        })
    }

    /// Returns the kind that a file name's ending implies; the error says which there are.
    fn known(path: &Path) -> Result<Kind> {
        Kind::of(path).ok_or_else(|| {
            let reason = format!("the end of its name does not say what it holds (known: {KNOWN_ENDINGS})");
            Error::file(path, reason)
        })
    }
}

/// Looks at what a file says of its samples.
pub fn look(path: &Path, options: &Options) -> Result<Look> {
    let fault = |reason: String| Error::file(path, reason);
    let unpacked = || packed::open(path, 0).map_err(|error| fault(told(&error)));
    Ok(match Kind::known(path)? {
        Kind::Image => {
            let mut bytes = Vec::new();
            let read = unpacked()?.take(image::LARGEST_FILE).read_to_end(&mut bytes);
            read.map_err(|error| fault(told(&error)))?;
            Look::plain(image::shape(&bytes).map(|shape| (shape, Dtype::U8)))
        }
        Kind::Cifar => Look::plain(Ok((cifar::SHAPE, Dtype::U8))),
        Kind::Npy => Look::of_array(npy::array(unpacked()?)),
        Kind::Idx => Look::of_array(idx::array(unpacked()?)),
        Kind::Parquet => {
            let file = packed::open_plain(path).map_err(|error| fault(told(&error)))?;
            columns::look(RowGroups::open(file).map_err(fault)?, options).map_err(fault)?
        }
        Kind::Arrow => columns::look(Messages::open(unpacked()?).map_err(fault)?, options).map_err(fault)?,
        Kind::Tar => tar::look(unpacked()?, options),
        Kind::Csv => table::look(unpacked()?, &options.table),
        Kind::Ndjson => Look::plain(Err("a text does not say of itself what its samples are".into())),
    })
}

/// Returns the options with the categories of the columns that they name without: those that a file holds, if it has
/// typed columns.
pub fn with_categories(path: &Path, options: &Options) -> Result<Options> {
    let fault = |reason: String| Error::file(path, reason);
    let to_find = options.table.categorical.to_find();
    if to_find.is_empty() {
        return Ok(options.clone());
    }
    let found = match Kind::known(path)? {
        Kind::Parquet => {
            let file = packed::open_plain(path).map_err(|error| fault(told(&error)))?;
            columns::categories(RowGroups::open(file).map_err(fault)?, &options.table)
        }
        Kind::Arrow => {
            let input = packed::open(path, 0).map_err(|error| fault(told(&error)))?;
            columns::categories(Messages::open(input).map_err(fault)?, &options.table)
        }
        _ => Err(options.table.categorical.not_found().map_or_else(String::new, |(_, reason)| reason)),
    };
    let mut options = options.clone();
    options.table.categorical = table::Categorical::Declared(found.map_err(fault)?);
    Ok(options)
}

/// Opens the records of a file, here or elsewhere, whose kind follows from its name; packed or plain.
pub fn open(path: &Path, format: &Format, options: &Options) -> Result<Box<dyn Records>> {
    opened(path, format, options, Wanted::Values(format.shape.len()))
}

/// Opens the records of a file for their classes: where a file has columns, values are not read.
pub fn open_classes(path: &Path, format: &Format, options: &Options) -> Result<Box<dyn Records>> {
    opened(path, format, options, Wanted::Classes)
}

fn opened(path: &Path, format: &Format, options: &Options, wanted: Wanted) -> Result<Box<dyn Records>> {
    let fault = |fault: DecodeError| Error::file(path, fault);
    let unreadable = |error: std::io::Error| Error::file(path, told(&error));
    let input = || packed::open(path, 0).map_err(unreadable);
    Ok(match Kind::known(path)? {
        Kind::Image => Box::new(image::records(input()?, format, options)),
        Kind::Idx => Box::new(idx(input()?, format).map_err(fault)?),
        Kind::Cifar => Box::new(cifar(input()?, format).map_err(fault)?),
        Kind::Npy => Box::new(npy(input()?, format).map_err(fault)?),
        Kind::Csv => Box::new(csv(input()?, format, &options.table, tell)),
        Kind::Ndjson => {
            let keys = Keys::of(&options.table, format).map_err(|reason| Error::file(path, reason))?;
            Box::new(ndjson(input()?, format, keys))
        }
        Kind::Tar => Box::new(tar(input()?, format, options)),
        Kind::Arrow => Box::new(arrow(input()?, format, options, wanted).map_err(fault)?),
        Kind::Parquet => {
            let file = packed::open_plain(path).map_err(unreadable)?;
            Box::new(parquet(file, format, options, wanted).map_err(fault)?)
        }
    })
}

/// Decodes the rows of a Parquet file.
pub fn parquet(
    input: impl ChunkReader + 'static,
    format: &Format,
    options: &Options,
    wanted: Wanted,
) -> std::result::Result<impl Records + 'static, DecodeError> {
    let groups = RowGroups::open(input).map_err(DecodeError::Broken)?;
    columns::records(groups, format, options, wanted, tell)
}

/// Decodes the rows of an Arrow file or stream.
pub fn arrow(
    input: impl BufRead + Send + 'static,
    format: &Format,
    options: &Options,
    wanted: Wanted,
) -> std::result::Result<impl Records + 'static, DecodeError> {
    let messages = Messages::open(input).map_err(DecodeError::Broken)?;
    columns::records(messages, format, options, wanted, tell)
}

fn tell(told: &str) {
    tracing::debug!("{told}");
}
