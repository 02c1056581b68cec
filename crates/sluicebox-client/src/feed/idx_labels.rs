//! Labels of an IDX file, which are in a file beside it: `train-labels-idx1-ubyte` beside `train-images-idx3-ubyte`,
//! each plain or packed.

use sluicebox_core::error::{Error, Result};
use sluicebox_stream::decode::labels::Labels;
use sluicebox_stream::decode::packed::{self, Content};
use sluicebox_stream::decode::{self, DecodeError, Kind, Record, Records, idx};
use sluicebox_stream::remote;
use std::path::{Path, PathBuf};

/// Parts of the names of a file of images and of the file of their labels.
const NAMES: [(&str, &str); 2] = [("images", "labels"), ("idx3", "idx1")];
/// Ends of the names of packed files, and of plain ones.
const ENDS: [&str; 5] = ["", ".gz", ".zst", ".xz", ".zip"];

/// Images with their labels.
struct Labelled {
    images: Box<dyn Records>,
    labels: Labels<Content>,
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
    let plain = ENDS[1..].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let labels =
        NAMES.iter().fold(plain.to_string(), |name, (images, labels)| name.replacen(images, labels, 1));
    ENDS.map(|end| images.with_file_name(format!("{labels}{end}")))
        .into_iter()
        .find(|path| remote::is_file(path).unwrap_or(true))
}

/// Adds the labels in `path` to the records of a file of images.
pub fn labelled(images: Box<dyn Records>, path: PathBuf, classes: &[String]) -> Result<Box<dyn Records>> {
    let input = packed::open(&path, 0).map_err(|error| Error::file(&path, error))?;
    let labels = idx::labels(input).map_err(|reason| Error::file(&path, reason))?;
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
        let more = self.labels.read() < self.labels.count();
        if more == matches!(image, Ok(None)) {
            return Err(self.broken("they are not as many as the images"));
        }
        if !more {
            return Ok(None);
        }
        self.number += 1;
        let class = self.labels.next_label().map_err(|fault| self.broken(fault))?;
        let record = image?;
        let known = class.as_ref().map(|class| decode::class(&self.classes, class)).transpose();
        known.map_err(|reason| DecodeError::Bad {
            line: self.number,
            reason: format!("its label in {}: {reason}", self.path.display()),
            text: String::new(),
        })?;
        Ok(record.map(|record| Record { class, ..record }))
    }
}
