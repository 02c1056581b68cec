//! IDX files (Y. LeCun's format), gzip or raw: MNIST, Fashion-MNIST and similar sets, streamed in
//! shuffled blocks.

use crate::decode::array::Array;
use crate::decode::idx;
use crate::source::api::{Context, Source};
use crate::source::bad_records::BadRecords;
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
    /// File of the streamed images, with or without `.gz`.
    #[serde(default = "train_images")]
    pub images: String,
    /// File of the classes of the streamed images.
    #[serde(default = "train_labels")]
    pub labels: String,
    /// File of the evaluation images; "" for none.
    #[serde(default = "test_images")]
    pub test_images: String,
    /// File of the classes of the evaluation images.
    #[serde(default = "test_labels")]
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
}

fn train_images() -> String {
    "train-images-idx3-ubyte".into()
}
fn train_labels() -> String {
    "train-labels-idx1-ubyte".into()
}
fn test_images() -> String {
    "t10k-images-idx3-ubyte".into()
}
fn test_labels() -> String {
    "t10k-labels-idx1-ubyte".into()
}
fn ten() -> usize {
    10
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "classes", self.classes, 2);
        at_least(&mut faults, "labelled_per_class", self.labelled_per_class, 1);
        at_least(&mut faults, "labelled", self.labelled.unwrap_or(1), 1);
        at_least(&mut faults, "shuffle_buffer", self.shuffle_buffer, 1);
        faults
    }

    fn changeable() -> &'static [&'static str] {
        &["path", "test_images", "test_labels", "repeat"]
    }
}

/// One IDX file, read item by item.
struct File {
    path: PathBuf,
    array: Array<Box<dyn Read>>,
}

impl File {
    fn open(folder: &Path, name: &str, dimensions: usize) -> Result<Self> {
        let plain = folder.join(name);
        let gzip = folder.join(format!("{name}.gz"));
        let path = if !plain.exists() && gzip.exists() { gzip } else { plain };
        let array = idx::bytes(crate::source::api::open(&path, 0)?, dimensions);
        Ok(Self { array: array.map_err(|reason| Error::file(&path, reason))?, path })
    }

    /// Reads the next item, of `length` bytes.
    fn next(&mut self, length: usize) -> Result<Values> {
        let item = self.array.read(Dtype::U8, length).map_err(|fault| Error::file(&self.path, fault))?;
        item.ok_or_else(|| Error::file(&self.path, "there is no further item"))
    }
}

/// Files of images and of their classes, read in parallel.
struct Pair {
    images: File,
    labels: File,
    shape: Shape,
    classes: usize,
}

impl Pair {
    fn open(folder: &Path, images: &str, labels: &str, classes: usize) -> Result<Self> {
        let images = File::open(folder, images, 3)?;
        let labels = File::open(folder, labels, 1)?;
        let (holds, wanted) = (labels.array.count(), images.array.count());
        if holds != wanted {
            let reason =
                format!("holds {holds} classes, but {} holds {wanted} images", images.path.display());
            return Err(Error::file(&labels.path, reason));
        }
        let shape = Shape::Image { channels: 1, height: images.array.dims[1], width: images.array.dims[2] };
        Ok(Self { images, labels, shape, classes })
    }
}

impl SampleReader for Pair {
    fn count(&self) -> usize {
        self.images.array.count()
    }

    fn file(&self) -> &Path {
        &self.labels.path
    }

    fn next(&mut self) -> Result<Result<(Values, Option<usize>), String>> {
        let class = match self.labels.next(1)? {
            Values::U8(class) => usize::from(class[0]),
            Values::F32(_) => return Err(Error::Engine("IDX classes are bytes".into())),
        };
        let image = self.images.next(self.shape.len())?;
        if class >= self.classes {
            let (item, classes) = (self.labels.array.item - 1, self.classes);
            let reason =
                format!("label {class} of item {item} is outside the {classes} classes; set source.classes");
            return Err(Error::file(&self.labels.path, reason));
        }
        Ok(Ok((image, Some(class))))
    }
}

/// The four files of a set.
struct Idx {
    options: Settings,
    shape: Shape,
}

impl Idx {
    fn pair(&self, images: &str, labels: &str) -> Result<Box<dyn SampleReader>> {
        let pair = Pair::open(&self.options.path, images, labels, self.options.classes)?;
        if pair.shape != self.shape {
            let reason = format!("holds images of {}, but the stream's are {}", pair.shape, self.shape);
            return Err(Error::file(&pair.images.path, reason));
        }
        Ok(Box::new(pair))
    }
}

impl DataSet for Idx {
    fn open(&self) -> Result<Box<dyn SampleReader>> {
        self.pair(&self.options.images, &self.options.labels)
    }

    fn open_test(&self) -> Result<Option<Box<dyn SampleReader>>> {
        if self.options.test_images.is_empty() {
            return Ok(None);
        }
        self.pair(&self.options.test_images, &self.options.test_labels).map(Some)
    }
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let shape = Pair::open(&options.path, &options.images, &options.labels, options.classes)?.shape;
    let format = Format {
        shape,
        dtype: Dtype::U8,
        scale: 1.0 / 255.0,
        classes: (0..options.classes).map(|class| class.to_string()).collect(),
    };
    let stream = Options {
        labelled: Wanted::new(options.labelled_per_class, options.labelled),
        shuffle_buffer: options.shuffle_buffer,
        repeat: options.repeat,
    };
    let bad = BadRecords::new(0.0, None, context);
    Ok(Box::new(ShuffledBlocks::new(Box::new(Idx { options, shape }), format, stream, bad, context.seed)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::Samples;
    use std::io::Write;

    fn write(folder: &Path, name: &str, dimensions: &[u32], bytes: &[u8], gzip: bool) {
        let mut content = vec![0, 0, 8, dimensions.len() as u8];
        dimensions.iter().for_each(|size| content.extend(size.to_be_bytes()));
        content.extend(bytes);
        if gzip {
            let file = std::fs::File::create(folder.join(format!("{name}.gz"))).unwrap();
            let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            packer.write_all(&content).unwrap();
        } else {
            std::fs::write(folder.join(name), content).unwrap();
        }
    }

    /// Writes 100 images of 2×3 whose first pixel is their index, in 4 classes.
    fn set(folder: &Path, gzip: bool) {
        let pixels: Vec<u8> = (0..100u8).flat_map(|i| [i, 1, 2, 3, 4, 5]).collect();
        let classes: Vec<u8> = (0..100u8).map(|i| i % 4).collect();
        write(folder, "train-images-idx3-ubyte", &[100, 2, 3], &pixels, gzip);
        write(folder, "train-labels-idx1-ubyte", &[100], &classes, gzip);
        write(folder, "t10k-images-idx3-ubyte", &[10, 2, 3], &pixels[..60], gzip);
        write(folder, "t10k-labels-idx1-ubyte", &[10], &classes[..10], gzip);
    }

    fn source(folder: &Path, more: &str) -> Result<Box<dyn Source>> {
        let mut options: toml::Table = more.parse().unwrap();
        options.insert("path".into(), folder.to_str().unwrap().into());
        options.entry("classes").or_insert(4.into());
        options.entry("labelled_per_class").or_insert(2.into());
        options.entry("shuffle_buffer").or_insert(16.into());
        build(&Spec { kind: "idx".into(), options }, &Context::default())
    }

    fn read(source: &mut dyn Source, count: usize) -> Samples {
        let mut samples = Samples::none(Dtype::U8);
        source.read(count, &mut samples).unwrap();
        samples
    }

    #[test]
    fn a_pass_gives_every_unlabelled_sample_once_gzip_or_raw() {
        for gzip in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            set(folder.path(), gzip);
            let mut idx = source(folder.path(), "").unwrap();
            let labelled = idx.labelled().unwrap();
            assert_eq!(labelled.classes, [0, 0, 1, 1, 2, 2, 3, 3]);
            let Values::U8(labelled) = labelled.values else { panic!() };
            let pass = read(&mut *idx, 92);
            let Values::U8(streamed) = &pass.values else { panic!() };
            let first = |values: &[u8]| values.chunks(6).map(|image| image[0]).collect::<Vec<_>>();
            let mut all = [first(streamed), first(&labelled)].concat();
            all.sort();
            assert_eq!(all, (0..100).collect::<Vec<u8>>());
            for (image, class) in first(streamed).iter().zip(pass.truth.reveal()) {
                assert_eq!(i32::from(image % 4), *class);
            }
            let second = read(&mut *idx, 92);
            assert_ne!(second.values, pass.values, "the second pass has its own order");
            assert!(second.ids.iter().all(|id| *id >= 100), "ids are unique in the stream");
        }
    }

    #[test]
    fn labelled_in_all_are_of_the_classes_as_they_come() {
        let folder = tempfile::tempdir().unwrap();
        // 90 samples of class 0, then 10 of class 1.
        let pixels: Vec<u8> = (0..100u8).flat_map(|image| [image; 6]).collect();
        let classes: Vec<u8> = (0..100).map(|image| u8::from(image >= 90)).collect();
        set(folder.path(), false);
        write(folder.path(), "train-images-idx3-ubyte", &[100, 2, 3], &pixels, false);
        write(folder.path(), "train-labels-idx1-ubyte", &[100], &classes, false);
        let count = |more: &str, class| {
            let labelled = source(folder.path(), more).unwrap().labelled().unwrap();
            labelled.classes.iter().filter(|other| **other == class).count()
        };
        let first_block = "classes = 2\nlabelled = 10";
        assert_eq!([0, 1].map(|class| count(first_block, class)), [10, 0]);
        let whole = "classes = 2\nlabelled = 50\nshuffle_buffer = 100";
        let found = [0, 1].map(|class| count(whole, class));
        assert!(found[0] + found[1] == 50 && (1..10).contains(&found[1]), "{found:?}");
        let message = |more| source(folder.path(), more).err().unwrap().to_string();
        assert!(message("labelled = 100").contains("every sample is labelled"));
        assert!(
            message("labelled = 101")
                .contains("has 100 samples of a known class, but source.labelled is 101")
        );
    }

    #[test]
    fn a_restored_stream_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        set(folder.path(), true);
        for skipped in [1, 15, 16, 50, 91, 92, 100, 250] {
            let mut whole = source(folder.path(), "").unwrap();
            read(&mut *whole, skipped);
            let state = whole.save().unwrap();
            let mut resumed = source(folder.path(), "").unwrap();
            resumed.load(&state).unwrap();
            assert_eq!(read(&mut *resumed, 130), read(&mut *whole, 130));
        }
    }

    #[test]
    fn bad_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = |folder: &Path, more| source(folder, more).err().unwrap().to_string();
        assert!(message(folder.path(), "").contains("no such file"));
        set(folder.path(), false);
        assert!(message(folder.path(), "classes = 3").contains("label 3 of item 3 is outside the 3"));
        assert!(message(folder.path(), "labelled_per_class = 25").contains("every sample is labelled"));
        assert!(message(folder.path(), "labelled_per_class = 26").contains("has 25 samples of class"));
        write(folder.path(), "train-labels-idx1-ubyte", &[99], &[0; 99], false);
        assert!(message(folder.path(), "").contains("holds 99 classes, but"));
        std::fs::write(folder.path().join("train-labels-idx1-ubyte"), b"\0\0\x0d\x01\0\0\0\x01").unwrap();
        assert!(message(folder.path(), "").contains("wrong magic number [00, 00, 0d, 01]"));
    }

    #[test]
    fn a_truncated_file_is_named_with_the_item() {
        let folder = tempfile::tempdir().unwrap();
        set(folder.path(), false);
        let path = folder.path().join("train-images-idx3-ubyte");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 200]).unwrap();
        let mut idx = source(folder.path(), "").unwrap();
        let mut samples = Samples::none(Dtype::U8);
        let error = idx.read(92, &mut samples).unwrap_err().to_string();
        assert!(error.contains("truncated: item 66 of the 100"), "{error}");
    }
}
