//! Decoding of bytes into samples, one file per format: contents of files and of request bodies.
//! Checks shape, dtype and range against the job's format. Where bytes come from and where samples
//! go is decided by the callers.

pub mod api;
pub mod array;
pub mod avro;
pub mod axes;
mod background;
pub mod cifar;
mod foreign;
mod form;
mod gathered;
pub mod idx;
mod image;
pub mod json;
mod keys;
pub mod labels;
pub mod lines;
mod ndjson;
mod nested;
pub mod npy;
pub mod numbers;
mod options;
pub mod packed;
mod pixels;
pub mod table;
mod tar;
pub mod text_encoding;
mod unread;

use api::told;
pub use api::{DecodeError, Record, Records, chosen, class, named, plain_number};
pub use background::Background;
pub use cifar::cifar;
pub use form::Form;
pub use idx::idx;
pub use image::{image, pixels_of};
pub use keys::Keys;
pub use ndjson::ndjson;
pub use npy::npy;
pub use options::Options;
pub use pixels::PixelRange;
pub use table::csv;
pub use tar::tar;
pub use unread::Unread;

use crate::remote;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
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
}

/// Endings of names of files that can be read.
pub const KNOWN_ENDINGS: &str = ".png, .jpg, .jpeg, .jfif, .webp, .tif, .tiff, .gif, .bmp, .idx, -ubyte, .bin, .npy, .npz, .csv, .arff, .ndjson, .jsonl or .tar (.tgz), each with or without .gz, .zst, .xz or .zip";

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
            _ => return None,
        })
    }
}

/// Opens the records of a file, here or elsewhere, whose kind follows from its name; packed or plain.
pub fn open(path: &Path, format: &Format, options: &Options) -> Result<Box<dyn Records>> {
    let Some(kind) = Kind::of(path) else {
        let reason = format!("the end of its name does not say what it holds (known: {KNOWN_ENDINGS})");
        return Err(Error::file(path, reason));
    };
    let input = packed::open(path, 0).map_err(|error| Error::file(path, told(&error)))?;
    let fault = |fault: DecodeError| Error::file(path, fault);
    Ok(match kind {
        Kind::Image => Box::new(image::records(input, format, options)),
        Kind::Idx => Box::new(idx(input, format).map_err(fault)?),
        Kind::Cifar => Box::new(cifar(input, format).map_err(fault)?),
        Kind::Npy => Box::new(npy(input, format).map_err(fault)?),
        Kind::Csv => Box::new(csv(input, format, &options.table, |told| tracing::debug!("{told}"))),
        Kind::Ndjson => {
            let keys = Keys::of(&options.table, format).map_err(|reason| Error::file(path, reason))?;
            Box::new(ndjson(input, format, keys))
        }
        Kind::Tar => Box::new(tar(input, format, options)),
    })
}
