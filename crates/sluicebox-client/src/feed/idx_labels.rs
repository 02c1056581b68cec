//! Labels of an IDX file, which are in a file beside it: `train-labels-idx1-ubyte` beside `train-images-idx3-ubyte`,
//! each with or without `.gz`.

use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Dtype, Values};
use sluicebox_stream::decode::array::Array;
use sluicebox_stream::decode::{self, DecodeError, Kind, Record, Records, idx};
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// Parts of the names of a file of images and of the file of their labels.
const NAMES: [(&str, &str); 2] = [("images", "labels"), ("idx3", "idx1")];

/// Images with their labels.
struct Labelled {
    images: Box<dyn Records>,
    labels: Array<Box<dyn BufRead + Send>>,
    /// Names of the job's classes.
    classes: Vec<String>,
    /// File of the labels.
    path: PathBuf,
    /// Records so far.
    number: u64,
}

/// Returns the file of the labels of an IDX file of images, if there is one beside it.
pub fn labels_of(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    if Kind::of(images) != Some(Kind::Idx) || !name.contains(NAMES[0].0) {
        return None;
    }
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    let labels =
        NAMES.iter().fold(plain.to_string(), |name, (images, labels)| name.replacen(images, labels, 1));
    [labels.clone(), format!("{labels}.gz")]
        .map(|name| images.with_file_name(name))
        .into_iter()
        .find(|path| path.is_file())
}

/// Adds the labels in `path` to the records of a file of images.
pub fn labelled(images: Box<dyn Records>, path: PathBuf, classes: &[String]) -> Result<Box<dyn Records>> {
    let input = decode::unpacked(&path).map_err(|error| Error::file(&path, error))?;
    let labels = idx::bytes(input, 1).map_err(|reason| Error::file(&path, reason))?;
    Ok(Box::new(Labelled { images, labels, classes: classes.to_vec(), path, number: 0 }))
}

impl Labelled {
    fn broken(&self, reason: impl std::fmt::Display) -> DecodeError {
        DecodeError::Broken(format!("its labels in {}: {reason}", self.path.display()))
    }
}

impl Records for Labelled {
    fn next_record(&mut self) -> Result<Option<Record>, DecodeError> {
        let image = self.images.next_record();
        if matches!(image, Err(DecodeError::Broken(_))) {
            return image;
        }
        self.number += 1;
        let label = self.labels.read(Dtype::U8, 1).map_err(|fault| self.broken(fault))?;
        match (image?, label) {
            (None, None) => Ok(None),
            (Some(record), Some(Values::U8(label))) => {
                let class = label.first().map(u8::to_string);
                let known = class.as_ref().map(|class| decode::class(&self.classes, class)).transpose();
                known.map_err(|reason| DecodeError::Bad {
                    line: self.number,
                    reason: format!("its label in {}: {reason}", self.path.display()),
                    text: String::new(),
                })?;
                Ok(Some(Record { class, ..record }))
            }
            _ => Err(self.broken("they are not as many as the images")),
        }
    }
}
