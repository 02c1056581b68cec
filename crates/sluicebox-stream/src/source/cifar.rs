//! CIFAR-10 and CIFAR-100 in binary form (A. Krizhevsky, 2009), streamed in shuffled blocks.

use crate::decode::cifar;
use crate::decode::cifar::Layout;
use crate::decode::{DecodeError, numbers};
use crate::remote;
use crate::source::api::{Context, Source};
use crate::source::bad_records::BadRecords;
use crate::source::blocks::{
    DataSet, Options, Refused, Sample, SampleReader, ShuffledBlocks, block, twenty_five, yes,
};
use crate::source::wanted::{InAll, Wanted};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::at_least;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Dtype, Format};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Maximum size of the file of class names, in bytes.
const LONGEST_NAMES: u64 = 1 << 16;

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder with the files.
    pub path: PathBuf,
    /// The data set.
    #[serde(default)]
    pub set: Which,
    /// Files of the streamed images; empty: the standard names of the set.
    #[serde(default)]
    pub train: Vec<String>,
    /// File of the evaluation images; "" for none, by default the standard name of the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// Labelled samples per class.
    #[serde(default = "twenty_five")]
    pub labelled_per_class: usize,
    /// Labelled samples in all, of the classes as the data has them; in place of `labelled_per_class`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled: Option<InAll>,
    /// Samples that are decoded and shuffled together.
    #[serde(default = "block")]
    pub shuffle_buffer: usize,
    /// Whether to start again at the end of the files, for ever.
    #[serde(default = "yes")]
    pub repeat: bool,
}

/// A CIFAR data set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Which {
    /// 10 classes.
    #[default]
    #[serde(rename = "cifar-10")]
    Ten,
    /// 100 classes.
    #[serde(rename = "cifar-100")]
    Fine,
    /// The same images in their 20 superclasses.
    #[serde(rename = "cifar-100-coarse")]
    Coarse,
}

impl Which {
    fn classes(self) -> usize {
        match self {
            Which::Ten => 10,
            Which::Fine => 100,
            Which::Coarse => 20,
        }
    }

    fn train(self) -> Vec<String> {
        match self {
            Which::Ten => (1..=5).map(|batch| format!("data_batch_{batch}.bin")).collect(),
            _ => vec!["train.bin".into()],
        }
    }

    fn test(self) -> String {
        if self == Which::Ten { "test_batch.bin".into() } else { "test.bin".into() }
    }

    /// Returns the file with the class names.
    fn names(self) -> &'static str {
        match self {
            Which::Ten => "batches.meta.txt",
            Which::Fine => "fine_label_names.txt",
            Which::Coarse => "coarse_label_names.txt",
        }
    }
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "labelled_per_class", self.labelled_per_class, 1);
        faults.extend(InAll::fault(self.labelled));
        at_least(&mut faults, "shuffle_buffer", self.shuffle_buffer, 1);
        faults.extend(remote::refused(&self.path, false).map(|reason| ("path", reason)));
        faults
    }

    fn changeable() -> &'static [&'static str] {
        &["path", "test", "repeat"]
    }
}

/// A sequence of files, read as one.
struct Batches {
    /// Files with their numbers of records.
    files: Vec<(PathBuf, usize)>,
    layout: Layout,
    classes: usize,
    /// Index of the current file, and its next record.
    at: (usize, usize),
    input: Option<Box<dyn Read>>,
}

impl Batches {
    fn open(folder: &Path, names: &[String], classes: usize) -> Result<Self> {
        let layout = Layout::of(classes);
        let records = |name: &String| {
            let path = folder.join(name);
            let bytes = remote::size(&path)
                .map_err(|error| Error::file(&path, crate::source::api::reason(&error)))?;
            let (bytes, record) = (bytes as usize, layout.bytes());
            match bytes > 0 && bytes.is_multiple_of(record) {
                true => Ok((path, bytes / record)),
                false => {
                    let reason = format!(
                        "{bytes} bytes are not a whole number of records of {record}: the file is truncated, or \
                         source.set is wrong"
                    );
                    Err(Error::file(&path, reason))
                }
            }
        };
        let files = names.iter().map(records).collect::<Result<_>>()?;
        Ok(Self { files, layout, classes, at: (0, 0), input: None })
    }
}

impl SampleReader for Batches {
    fn count(&self) -> Option<usize> {
        Some(self.files.iter().map(|(_, records)| records).sum())
    }

    fn file(&self) -> &Path {
        &self.files[self.at.0.min(self.files.len() - 1)].0
    }

    fn next(&mut self) -> Result<Option<Result<Sample, Refused>>> {
        if self.at.0 == self.files.len() {
            return Ok(None);
        }
        let path = self.file().to_path_buf();
        let input = match &mut self.input {
            Some(input) => input,
            none => none.insert(crate::source::api::open(&path, 0)?),
        };
        let (_, record) = self.at;
        let (class, pixels) = cifar::read(input, self.layout)
            .map_err(|error| Error::file(&path, format!("record {record}: {}", DecodeError::from(error))))?;
        self.at.1 += 1;
        if self.at.1 == self.files[self.at.0].1 {
            (self.at, self.input) = ((self.at.0 + 1, 0), None);
        }
        let (class, classes) = (usize::from(class), self.classes);
        match class < classes {
            true => Ok(Some(Ok(Sample::new(numbers::of_bytes(Dtype::U8, pixels), Some(class))))),
            false => {
                let reason = format!(
                    "record {record} has class {class}, but there are {classes}: the file is damaged, or source.set is wrong"
                );
                Err(Error::file(&path, reason))
            }
        }
    }
}

/// The files of a CIFAR set.
struct Cifar {
    path: PathBuf,
    train: Vec<String>,
    test: String,
    classes: usize,
}

impl DataSet for Cifar {
    fn open(&self) -> Result<Box<dyn SampleReader>> {
        Ok(Box::new(Batches::open(&self.path, &self.train, self.classes)?))
    }

    fn open_test(&self) -> Result<Option<Box<dyn SampleReader>>> {
        if self.test.is_empty() {
            return Ok(None);
        }
        Ok(Some(Box::new(Batches::open(&self.path, std::slice::from_ref(&self.test), self.classes)?)))
    }
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let classes = options.set.classes();
    // The class names are in a file beside the batches; without it, classes are numbered.
    let file = options.path.join(options.set.names());
    let mut names = String::new();
    let fault = |error| Error::file(&file, error);
    if remote::is_file(&file).map_err(fault)? {
        let text = crate::source::api::open(&file, 0)?;
        text.take(LONGEST_NAMES).read_to_string(&mut names).map_err(fault)?;
    }
    let names: Vec<String> =
        names.lines().map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect();
    let format = Format {
        shape: cifar::SHAPE,
        dtype: Dtype::U8,
        scale: 1.0 / 255.0,
        classes: match names.len() == classes {
            true => names,
            false => (0..classes).map(|class| class.to_string()).collect(),
        },
    };
    let set = Cifar {
        train: if options.train.is_empty() { options.set.train() } else { options.train },
        test: options.test.unwrap_or_else(|| options.set.test()),
        path: options.path,
        classes,
    };
    let stream = Options {
        labelled: Wanted::new(options.labelled_per_class, options.labelled),
        shuffle_buffer: options.shuffle_buffer,
        repeat: options.repeat,
        own_ids: None,
    };
    let bad = BadRecords::new(0.0, None, context);
    Ok(Box::new(ShuffledBlocks::new(Box::new(set), format, stream, bad, context.seed)?))
}
