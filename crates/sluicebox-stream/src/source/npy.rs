//! NumPy arrays: one of samples and one of classes, streamed in shuffled blocks. Class -1 means
//! unknown.

use crate::decode::array::Array;
use crate::decode::{DecodeError, npy};
use crate::source::api::{Context, Source};
use crate::source::bad_records;
use crate::source::bad_records::{BadRecords, one_percent};
use crate::source::blocks::{
    DataSet, Options, SampleReader, ShuffledBlocks, Wanted, block, twenty_five, yes,
};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::at_least;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Dtype, Format, Shape, Values};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder with the files.
    pub path: PathBuf,
    /// File of the streamed samples: `[count, features]`, `[count, height, width]` or `[count,
    /// channels, height, width]`. Bytes stay u8, other numbers become f32.
    #[serde(default = "samples")]
    pub samples: String,
    /// File of their classes, `[count]`; "" for none: then nothing is labelled at the start.
    #[serde(default = "labels")]
    pub labels: String,
    /// File of the evaluation samples; "" for none.
    #[serde(default)]
    pub test_samples: String,
    /// File of the classes of the evaluation samples.
    #[serde(default)]
    pub test_labels: String,
    /// Number of classes.
    #[serde(default = "ten")]
    pub classes: usize,
    /// Labelled samples per class.
    #[serde(default = "twenty_five")]
    pub labelled_per_class: usize,
    /// Labelled samples in all, of the classes as the data has them; in place of `labelled_per_class`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled: Option<usize>,
    /// Samples that are decoded and shuffled together.
    #[serde(default = "block")]
    pub shuffle_buffer: usize,
    /// Whether to start again at the end of the file, for ever.
    #[serde(default = "yes")]
    pub repeat: bool,
    /// Largest fraction of samples that may be bad.
    #[serde(default = "one_percent")]
    pub max_bad: f64,
    /// File for the numbers of bad samples; by default `dead-letter.jsonl` in the state folder or
    /// the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<PathBuf>,
}

fn samples() -> String {
    "samples.npy".into()
}
fn labels() -> String {
    "labels.npy".into()
}
fn ten() -> usize {
    10
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "classes", self.classes, 2);
        at_least(&mut faults, "labelled", self.labelled.unwrap_or(1), 1);
        at_least(&mut faults, "shuffle_buffer", self.shuffle_buffer, 1);
        faults.extend(bad_records::faults(self.max_bad));
        if self.labels.is_empty() && self.labelled.is_some() {
            faults.push(("labelled", "needs a file of classes: source.labels".into()));
        }
        if self.test_samples.is_empty() != self.test_labels.is_empty() {
            faults.push(("test_samples", "an evaluation needs both test_samples and test_labels".into()));
        }
        faults
    }

    fn changeable() -> &'static [&'static str] {
        &["path", "test_samples", "test_labels", "repeat", "max_bad", "dead_letter"]
    }
}

/// One array, read item by item.
struct File {
    path: PathBuf,
    array: Array<Box<dyn Read>>,
}

impl File {
    fn open(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        let array =
            npy::array(crate::source::api::open(&path, 0)?).map_err(|fault| Error::file(&path, fault))?;
        if array.dims.contains(&0) {
            return Err(Error::file(&path, format!("its shape is {:?}: the array is empty", array.dims)));
        }
        Ok(Self { path, array })
    }

    /// Returns the shape of a sample.
    fn shape(&self) -> Result<Shape> {
        let reason = match self.array.dims[1..] {
            [] => return Ok(Shape::Vector { features: 1 }),
            [features] => return Ok(Shape::Vector { features }),
            [height, width] => return Ok(Shape::Image { channels: 1, height, width }),
            [height, width, channels @ 1..=4] if height > 4 => format!(
                "samples are {height}×{width}×{channels}: put the channels first, with numpy.moveaxis(x, -1, 1)"
            ),
            [channels, height, width] => return Ok(Shape::Image { channels, height, width }),
            _ => format!("its shape is {:?}, but a sample has one to three axes", self.array.dims),
        };
        Err(Error::file(&self.path, reason))
    }

    /// Reads the next item, of `length` numbers; the inner error says what is wrong with it.
    fn next(&mut self, dtype: Dtype, length: usize) -> Result<Result<Values, String>> {
        match self.array.read(dtype, length) {
            Ok(Some(values)) => Ok(Ok(values)),
            Ok(None) => Err(Error::file(&self.path, "there is no further item")),
            Err(DecodeError::Bad { reason, .. }) => Ok(Err(reason)),
            Err(DecodeError::Broken(reason)) => Err(Error::file(&self.path, reason)),
        }
    }
}

/// Arrays of samples and of their classes, read in parallel.
struct Pair {
    samples: File,
    labels: Option<File>,
    shape: Shape,
    dtype: Dtype,
    classes: usize,
}

impl Pair {
    fn open(folder: &Path, samples: &str, labels: &str, classes: usize) -> Result<Self> {
        let samples = File::open(folder, samples)?;
        let labels = (!labels.is_empty()).then(|| File::open(folder, labels)).transpose()?;
        if let Some(labels) = &labels
            && (labels.array.count() != samples.array.count()
                || labels.array.dims[1..].iter().any(|n| *n != 1))
        {
            let reason = format!(
                "its shape is {:?}, but {} holds {} samples, with one class each",
                labels.array.dims,
                samples.path.display(),
                samples.array.count()
            );
            return Err(Error::file(&labels.path, reason));
        }
        Ok(Self { shape: samples.shape()?, dtype: samples.array.number().dtype(), samples, labels, classes })
    }

    fn class(&mut self) -> Result<Option<usize>> {
        let Some(labels) = &mut self.labels else { return Ok(None) };
        let class = match labels.next(Dtype::F32, 1)? {
            Ok(Values::F32(class)) if class[0] == -1.0 => return Ok(None),
            Ok(Values::F32(class)) if class[0].fract() == 0.0 && class[0] >= 0.0 => class[0] as usize,
            _ => usize::MAX,
        };
        match class < self.classes {
            true => Ok(Some(class)),
            false => {
                let (item, most) = (labels.array.item - 1, self.classes - 1);
                let reason = format!(
                    "the label of item {item} is not from 0 to {most}, nor -1 for none; set source.classes"
                );
                Err(Error::file(&labels.path, reason))
            }
        }
    }
}

impl SampleReader for Pair {
    fn count(&self) -> usize {
        self.samples.array.count()
    }

    fn file(&self) -> &Path {
        &self.samples.path
    }

    fn next(&mut self) -> Result<Result<(Values, Option<usize>), String>> {
        let class = self.class()?;
        let sample = self.samples.next(self.dtype, self.shape.len())?;
        Ok(sample.map(|values| (values, class)))
    }
}

/// The files of a set.
struct Npy {
    options: Settings,
    shape: Shape,
    dtype: Dtype,
}

impl Npy {
    fn pair(&self, samples: &str, labels: &str) -> Result<Box<dyn SampleReader>> {
        let pair = Pair::open(&self.options.path, samples, labels, self.options.classes)?;
        if (pair.shape, pair.dtype) != (self.shape, self.dtype) {
            let name = |shape: Shape, dtype: Dtype| format!("{shape} of {}", dtype.name());
            let (found, wanted) = (name(pair.shape, pair.dtype), name(self.shape, self.dtype));
            return Err(Error::file(
                &pair.samples.path,
                format!("samples are {found}, but the stream's are {wanted}"),
            ));
        }
        Ok(Box::new(pair))
    }
}

impl DataSet for Npy {
    fn open(&self) -> Result<Box<dyn SampleReader>> {
        self.pair(&self.options.samples, &self.options.labels)
    }

    fn open_test(&self) -> Result<Option<Box<dyn SampleReader>>> {
        if self.options.test_samples.is_empty() {
            return Ok(None);
        }
        self.pair(&self.options.test_samples, &self.options.test_labels).map(Some)
    }

    fn knows_classes(&self) -> bool {
        !self.options.labels.is_empty()
    }
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let Pair { shape, dtype, .. } =
        Pair::open(&options.path, &options.samples, &options.labels, options.classes)?;
    let format = Format {
        shape,
        dtype,
        scale: if dtype == Dtype::U8 { 1.0 / 255.0 } else { 1.0 },
        classes: (0..options.classes).map(|class| class.to_string()).collect(),
    };
    let labelled = match options.labels.is_empty() {
        true => Wanted::PerClass(0),
        false => Wanted::new(options.labelled_per_class, options.labelled),
    };
    let stream = Options { labelled, shuffle_buffer: options.shuffle_buffer, repeat: options.repeat };
    let bad = BadRecords::new(options.max_bad, options.dead_letter.clone(), context);
    Ok(Box::new(ShuffledBlocks::new(
        Box::new(Npy { options, shape, dtype }),
        format,
        stream,
        bad,
        context.seed,
    )?))
}
