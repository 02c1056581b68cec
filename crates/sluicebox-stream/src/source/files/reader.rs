//! Records of several files as one: file after file. A file that cannot be read further is one bad record, and the
//! next file follows.

use crate::decode;
use crate::decode::packed;
use crate::decode::{DecodeError, Kind, PixelRange, Record, Records, Run};
use crate::remote;
use crate::source::blocks::{Place, Refused, Sample, SampleReader};
use crate::source::files::paths;
use crate::source::image_files::ImageFiles;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// Files of one format, in order.
#[derive(Clone)]
pub struct Set {
    /// The files.
    pub files: Arc<[PathBuf]>,
    /// What their samples are.
    pub format: Format,
    /// How they are decoded.
    pub options: decode::Options,
    /// Range of their pixels, if the job's views need one.
    pub pixels: Option<PixelRange>,
}

impl Set {
    /// Returns a hash of the names of the files, without those of the folders that they are in, and of the categories.
    fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for file in &*self.files {
            hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update(b"/");
        }
        for (column, categories) in self.options.table.categorical.declared(None) {
            hash.update(format!("{column}: {categories:?}").as_bytes());
        }
        hash.digest()
    }
}

/// Forward reader of the records of a set.
pub struct Reader {
    set: Set,
    hash: u64,
    /// Index of the file of the next record; this file's records that were read, good and bad.
    at: (usize, u64),
    /// Index of the file of the last record.
    last: usize,
    present: Option<Box<dyn Records>>,
    images: ImageFiles,
}

impl Reader {
    /// Opens a set at its first record.
    pub fn new(set: Set) -> Self {
        Self { hash: set.hash(), set, at: (0, 0), last: 0, present: None, images: ImageFiles::default() }
    }

    /// Returns the records of the present file, opened where they are to be read.
    fn records(&mut self) -> std::result::Result<&mut Box<dyn Records>, DecodeError> {
        match &mut self.present {
            Some(records) => Ok(records),
            none => {
                let (Set { files, format, options, .. }, (file, record)) = (&self.set, self.at);
                let coming = files[file..].iter().cloned();
                let records = self.images.open(&files[file], record, coming, format, options)?;
                Ok(none.insert(records))
            }
        }
    }

    fn next_record(&mut self) -> std::result::Result<Option<Record>, DecodeError> {
        let record = self.records()?.next_record()?;
        if let (Some(record), Some(pixels)) = (&record, &self.set.pixels) {
            let bad = |reason| DecodeError::Bad { line: self.at.1 + 1, reason, text: String::new() };
            pixels.check(&record.values).map_err(bad)?;
        }
        Ok(record)
    }

    /// Fails if the last file is not there, or cannot be reached: then it is not known to be bad, and the job must not go on
    /// without it.
    fn check_present(&self) -> Result<()> {
        let file = self.file();
        remote::check_reached(file)?;
        match remote::is_file(file) {
            Ok(false) if !packed::is_in_zip(file) => Err(Error::file(file, paths::MISSING)),
            _ => Ok(()),
        }
    }

    fn sample(&self, record: Record) -> Sample {
        let class = record.class.and_then(|name| decode::class(&self.set.format.classes, &name).ok());
        Sample { values: record.values, class, id: record.id }
    }
}

impl SampleReader for Reader {
    fn file(&self) -> &Path {
        &self.set.files[self.last]
    }

    fn next(&mut self) -> Result<Option<std::result::Result<Sample, Refused>>> {
        while self.at.0 < self.set.files.len() {
            self.last = self.at.0;
            let next = self.next_record();
            self.at.1 += 1;
            match next {
                Ok(Some(record)) => return Ok(Some(Ok(self.sample(record)))),
                Ok(None) => {}
                Err(DecodeError::Bad { line, reason, text }) => {
                    return Ok(Some(Err(Refused { line, reason, text })));
                }
                Err(DecodeError::Broken(reason)) => {
                    self.check_present()?;
                    // An image is a file of its own: its dead letter is enough.
                    if Kind::of(self.file()) != Some(Kind::Image) {
                        tracing::warn!("{}: {reason}; no more of this file is read", self.file().display());
                    }
                    (self.at, self.present) = ((self.at.0 + 1, 0), None);
                    return Ok(Some(Err(Refused { line: 0, reason, text: String::new() })));
                }
            }
            (self.at, self.present) = ((self.at.0 + 1, 0), None);
        }
        Ok(None)
    }

    fn next_run(&mut self, most: usize, run: &mut Run) -> usize {
        let dtype = self.set.format.dtype;
        let is_checked = self.set.pixels.as_ref().is_some_and(|pixels| !pixels.suits_all(dtype));
        let taken = match &mut self.present {
            Some(records) if !is_checked => records.next_run(most, run),
            _ => 0,
        };
        self.at.1 += taken as u64;
        taken
    }

    fn place(&self) -> Option<Place> {
        Some(Place { files: self.hash, file: self.at.0 as u64, record: self.at.1 })
    }

    fn go_to(&mut self, place: &Place) -> Result<()> {
        if place.files != self.hash {
            let reason = "the files of source.path have other names, or are others, or hold other categories, than when the \
                          checkpoint was written; put them back, or start anew with --fresh";
            return Err(Error::file(self.file(), reason));
        }
        (self.at, self.present) = ((place.file as usize, place.record), None);
        self.images.clear();
        Ok(())
    }
}
