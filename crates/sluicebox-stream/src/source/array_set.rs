//! Sets of arrays: one of samples and one of their classes, read in parallel. The sources `idx` and `npy` say how a
//! file is opened.

use crate::decode::array::{Array, Number};
use crate::decode::axes::{Axes, Layout};
use crate::decode::labels::{Labels, Stored};
use crate::decode::{self, DecodeError, PixelRange};
use crate::source::api::{Context, Source};
use crate::source::bad_records::BadRecords;
use crate::source::blocks::{DataSet, Options, Refused, Sample, SampleReader, ShuffledBlocks};
use crate::source::class_names;
use crate::source::sample_format::scale_of;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::{Dtype, Format, Values};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most classes that are taken from the labels of a file.
const MOST_CLASSES: usize = 10_000;

/// Unpacked content of a file.
pub type Input = Box<dyn Read>;
/// What a decoder made of it.
pub type Decoded<T> = std::result::Result<T, DecodeError>;

/// How the files of a set are found and opened.
#[derive(Clone, Copy)]
pub struct Opening {
    /// Returns the path of a file in a folder.
    pub find: fn(&Path, &str) -> PathBuf,
    /// Reads the header of an array of samples.
    pub samples: fn(Input) -> Decoded<Array<Input>>,
    /// Reads the header of an array of classes.
    pub labels: fn(Input) -> Decoded<Labels<Input>>,
}

/// The two files of a part of a set.
#[derive(Debug, Clone)]
pub struct Files {
    /// File of the samples; "" for none.
    pub samples: String,
    /// File of their classes; "" for none.
    pub labels: String,
}

/// What a job says of a set.
pub struct Described {
    /// Folder with the files.
    pub folder: PathBuf,
    /// Files of the stream.
    pub streamed: Files,
    /// Files for evaluation.
    pub test: Files,
    /// Number of classes, called 0, 1, 2, …; none: those of the labels.
    pub classes: Option<usize>,
    /// Factor from a value to the model's input.
    pub scale: Option<f64>,
    /// Where the channels are.
    pub layout: Layout,
    /// Whether the rows of an image are its columns.
    pub transpose: bool,
}

/// Builds a source that streams a set of arrays.
pub fn build(
    described: Described,
    opening: Opening,
    stream: Options,
    bad: BadRecords,
    context: &Context,
) -> Result<Box<dyn Source>> {
    let samples = Samples::open(&described, opening, &described.streamed.samples)?;
    let dtype = samples.array.number().dtype();
    let format = Format {
        shape: samples.axes.shape,
        dtype,
        scale: scale_of(dtype, described.scale),
        classes: match described.classes {
            Some(count) => (0..count).map(|class| class.to_string()).collect(),
            None => classes(&described, opening)?,
        },
    };
    if samples.axes.channels_are_last() {
        let shape = format.shape;
        tracing::info!("{}: the channels are the last axis; samples are {shape}", samples.path.display());
    }
    let pixels = context.pixel_range(&format);
    if let Some(pixels) = &pixels {
        pixels.check_scale(dtype).map_err(|reason| Error::file(&samples.path, reason))?;
    }
    let set = ArraySet { described, opening, format: format.clone(), pixels };
    Ok(Box::new(ShuffledBlocks::new(Box::new(set), format, stream, bad, context.seed)?))
}

/// Returns the classes that the labels of the stream name: by number, or else by name.
fn classes(described: &Described, opening: Opening) -> Result<Vec<String>> {
    let name = &described.streamed.labels;
    if name.is_empty() {
        return Err(Error::request(
            "source.classes is not set, and there is no file of labels that says which there are",
        ));
    }
    let mut labels = LabelFile::open(described, opening, name)?;
    let (mut found, mut without) = (BTreeSet::new(), 0u64);
    for _ in 0..labels.labels.count() {
        match labels.next()? {
            Some(class) if !found.contains(&class) => drop(found.insert(class)),
            Some(_) => {}
            None => without += 1,
        }
        if found.len() > MOST_CLASSES {
            let reason =
                format!("more than {MOST_CLASSES} different labels; is this the file of the classes?");
            return Err(Error::file(&labels.path, reason));
        }
    }
    let mut classes: Vec<String> = found.into_iter().collect();
    if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<i64>().unwrap_or_default());
    }
    let path = labels.path.display();
    let byte = labels.labels.stored() == Stored::Numbers(Number::Unsigned(1));
    let number = |class: &String| class.parse::<u8>().unwrap_or_default();
    if let [.., before, last] = &classes[..]
        && byte
        && number(last) == u8::MAX
        && number(before) + 1 < u8::MAX
    {
        let reason = format!(
            "its labels are 255 besides those up to {before}: a byte cannot hold -1, for a class that is not known; \
             save the labels as 16-bit integers with -1, or set source.classes = 256 if 255 is a class"
        );
        return Err(Error::file(&labels.path, reason));
    }
    match &classes[..] {
        [] | [_] => {
            let without = match without {
                0 => String::new(),
                count => {
                    format!("; of {count} samples the class is not known, as -1, NaN or an empty text say")
                }
            };
            let reason = format!("its labels are of {} classes, but a job needs two{without}", classes.len());
            Err(Error::file(&labels.path, reason))
        }
        [first, .., last] => {
            let count = classes.len();
            tracing::info!(
                "{path}: {count} classes, from {first} to {last}; {without} samples without a class (-1, NaN or an empty text)"
            );
            class_names::warn_of_odd(&labels.path, &classes);
            Ok(classes)
        }
    }
}

/// An array of samples, read item by item.
struct Samples {
    path: PathBuf,
    array: Array<Box<dyn Read>>,
    axes: Axes,
}

impl Samples {
    fn open(described: &Described, opening: Opening, name: &str) -> Result<Self> {
        let path = (opening.find)(&described.folder, name);
        let fault = |reason: String| Error::file(&path, reason);
        let array = (opening.samples)(crate::source::api::open(&path, 0)?);
        let array = array.map_err(|error| fault(error.to_string()))?;
        if array.dims.contains(&0) {
            return Err(fault(format!("its shape is {:?}: the array is empty", array.dims)));
        }
        let axes = Axes::of(&array.dims[1..], described.layout, described.transpose).map_err(fault)?;
        Ok(Self { array, axes, path })
    }

    /// Reads the next item, if there is one; the inner error says what is wrong with it.
    fn next(&mut self, dtype: Dtype) -> Result<Option<std::result::Result<Values, String>>> {
        match self.array.read(dtype, self.axes.shape.len()) {
            Ok(values) => Ok(values.map(|values| Ok(self.axes.ordered(values)))),
            Err(DecodeError::Bad { reason, .. }) => Ok(Some(Err(reason))),
            Err(DecodeError::Broken(reason)) => Err(Error::file(&self.path, reason)),
        }
    }
}

/// An array of classes, read item by item.
struct LabelFile {
    path: PathBuf,
    labels: Labels<Box<dyn Read>>,
}

impl LabelFile {
    fn open(described: &Described, opening: Opening, name: &str) -> Result<Self> {
        let path = (opening.find)(&described.folder, name);
        let labels = (opening.labels)(crate::source::api::open(&path, 0)?);
        let labels = labels.map_err(|fault| Error::file(&path, fault))?;
        Ok(Self { labels, path })
    }

    fn next(&mut self) -> Result<Option<String>> {
        self.labels.next_label().map_err(|fault| Error::file(&self.path, fault))
    }

    /// Reads the next label, which must be one of the classes.
    fn next_class(&mut self, classes: &[String]) -> Result<Option<usize>> {
        let Some(name) = self.next()? else { return Ok(None) };
        match decode::named(classes, &name) {
            Some(class) => Ok(Some(class)),
            None => {
                let (item, count) = (self.labels.read() - 1, classes.len());
                let reason = format!(
                    "label {name} of item {item} is outside the {count} classes; set source.classes, or leave it out \
                     to take the labels as they are"
                );
                Err(Error::file(&self.path, reason))
            }
        }
    }
}

/// The two arrays of a part of a set.
struct Pair {
    samples: Samples,
    labels: Option<LabelFile>,
    format: Format,
    pixels: Option<PixelRange>,
}

impl SampleReader for Pair {
    fn count(&self) -> Option<usize> {
        Some(self.samples.array.count())
    }

    fn file(&self) -> &Path {
        &self.samples.path
    }

    fn next(&mut self) -> Result<Option<std::result::Result<Sample, Refused>>> {
        let Some(values) = self.samples.next(self.format.dtype)? else { return Ok(None) };
        let classes = &self.format.classes;
        let class = self.labels.as_mut().map(|labels| labels.next_class(classes)).transpose()?.flatten();
        let values = values.and_then(|values| match &self.pixels {
            Some(pixels) => pixels.check(&values).map(|()| values),
            None => Ok(values),
        });
        let line = self.samples.array.item as u64;
        let refused = |reason| Refused { line, reason, text: String::new() };
        Ok(Some(values.map(|values| Sample::new(values, class)).map_err(refused)))
    }
}

/// The files of a set.
struct ArraySet {
    described: Described,
    opening: Opening,
    format: Format,
    pixels: Option<PixelRange>,
}

impl ArraySet {
    fn pair(&self, files: &Files) -> Result<Box<dyn SampleReader>> {
        let (described, opening) = (&self.described, self.opening);
        let samples = Samples::open(described, opening, &files.samples)?;
        let (shape, dtype) = (samples.axes.shape, samples.array.number().dtype());
        if (shape, dtype) != (self.format.shape, self.format.dtype) {
            let (wanted, name) = (self.format.shape, self.format.dtype.name());
            let reason =
                format!("samples are {shape} of {}, but the stream's are {wanted} of {name}", dtype.name());
            return Err(Error::file(&samples.path, reason));
        }
        let labels = !files.labels.is_empty();
        let labels = labels.then(|| LabelFile::open(described, opening, &files.labels)).transpose()?;
        if let Some(labels) = &labels
            && labels.labels.count() != samples.array.count()
        {
            let (holds, wanted) = (labels.labels.count(), samples.array.count());
            let reason =
                format!("holds {holds} classes, but {} holds {wanted} samples", samples.path.display());
            return Err(Error::file(&labels.path, reason));
        }
        let (format, pixels) = (self.format.clone(), self.pixels.clone());
        Ok(Box::new(Pair { samples, labels, format, pixels }))
    }
}

impl DataSet for ArraySet {
    fn open(&self) -> Result<Box<dyn SampleReader>> {
        self.pair(&self.described.streamed)
    }

    fn open_test(&self) -> Result<Option<Box<dyn SampleReader>>> {
        match self.described.test.samples.is_empty() {
            true => Ok(None),
            false => self.pair(&self.described.test).map(Some),
        }
    }

    fn knows_classes(&self) -> bool {
        !self.described.streamed.labels.is_empty()
    }
}
