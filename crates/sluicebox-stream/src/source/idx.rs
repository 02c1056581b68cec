//! IDX files (Y. LeCun's format), gzip or raw: MNIST, Fashion-MNIST, EMNIST and similar sets, streamed in
//! shuffled blocks.

use crate::decode::axes::Layout;
use crate::decode::idx;
use crate::remote;
use crate::source::api::{Context, Source};
use crate::source::array_set::{self, Described, Files, Opening};
use crate::source::bad_records;
use crate::source::bad_records::{BadRecords, one_percent};
use crate::source::blocks::{Options, block, twenty_five, yes};
use crate::source::sample_format;
use crate::source::wanted::{InAll, Wanted};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::range::at_least;
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::Result;
use std::path::{Path, PathBuf};

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// Number of classes, called 0, 1, 2, …; by default the classes are those that the labels name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Factor from a value to the model's input; by default 1/255 for bytes and 1 for other numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Where the channels of an image are.
    #[serde(default, skip_serializing_if = "Layout::is_auto")]
    #[schemars(!skip_serializing_if)]
    pub layout: Layout,
    /// Whether the rows of the images are their columns, as in EMNIST.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(!skip_serializing_if)]
    pub transpose: bool,
    /// Labelled samples per class, or as many as a class has.
    #[serde(default = "twenty_five")]
    pub labelled_per_class: usize,
    /// Labelled samples in all, of the classes as the data has them, or `"all"` whose class is known; in place of
    /// `labelled_per_class`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled: Option<InAll>,
    /// Samples that are decoded and shuffled together.
    #[serde(default = "block")]
    pub shuffle_buffer: usize,
    /// Whether to start again at the end of the file, for ever.
    #[serde(default = "yes")]
    pub repeat: bool,
    /// Largest fraction of samples that may be bad.
    #[serde(default = "one_percent", skip_serializing_if = "bad_records::is_one_percent")]
    #[schemars(!skip_serializing_if)]
    pub max_bad: f64,
    /// File for the numbers of bad samples; by default `dead-letter.jsonl` in the state folder or the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<PathBuf>,
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

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "classes", self.classes.unwrap_or(2), 2);
        at_least(&mut faults, "labelled_per_class", self.labelled_per_class, 1);
        faults.extend(InAll::fault(self.labelled));
        faults.extend(sample_format::scale_fault(self.scale));
        faults.extend(bad_records::faults(self.max_bad));
        at_least(&mut faults, "shuffle_buffer", self.shuffle_buffer, 1);
        faults.extend(remote::refused(&self.path, false).map(|reason| ("path", reason)));
        faults
    }

    fn changeable() -> &'static [&'static str] {
        // Other classes would be other samples, which a state does not suit.
        &["path", "classes", "test_images", "test_labels", "repeat", "max_bad", "dead_letter"]
    }
}

/// Finds a file, whose name may end in `.gz` and have a dot where the usual one has a hyphen:
/// `train-images.idx3-ubyte`.
fn find(folder: &Path, name: &str) -> PathBuf {
    let dotted = name.replace("-idx", ".idx");
    let names = [name, &dotted].map(|name| [name.to_string(), format!("{name}.gz")]).concat();
    let found = names.iter().map(|name| folder.join(name)).find(|path| remote::is_file(path).unwrap_or(true));
    found.unwrap_or_else(|| folder.join(name))
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let stream = Options {
        labelled: Wanted::new(options.labelled_per_class, options.labelled),
        shuffle_buffer: options.shuffle_buffer,
        repeat: options.repeat,
        own_ids: None,
    };
    let described = Described {
        folder: options.path,
        streamed: Files { samples: options.images, labels: options.labels },
        test: Files { samples: options.test_images, labels: options.test_labels },
        classes: options.classes,
        scale: options.scale,
        layout: options.layout,
        transpose: options.transpose,
    };
    let opening = Opening { find, samples: idx::array, labels: idx::labels };
    let bad = BadRecords::new(options.max_bad, options.dead_letter, context);
    array_set::build(described, opening, stream, bad, context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::{Dtype, Samples, Values};
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
        std::fs::write(folder.path().join("train-labels-idx1-ubyte"), b"\0\0\x07\x01\0\0\0\x01").unwrap();
        assert!(message(folder.path(), "").contains("wrong magic number [00, 00, 07, 01]"));
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

    #[test]
    fn classes_are_those_of_the_labels_and_one_without_samples_is_no_fault() {
        let folder = tempfile::tempdir().unwrap();
        set(folder.path(), false);
        // As in EMNIST's letters: from 1 on. Class 3 is rare, class 4 has no sample.
        let classes: Vec<u8> = (0..100).map(|i| [1, 2, 5][i % 3]).collect();
        let with_rare: Vec<u8> =
            classes.iter().enumerate().map(|(i, c)| if i == 7 { 3 } else { *c }).collect();
        write(folder.path(), "train-labels-idx1-ubyte", &[100], &with_rare, false);
        write(folder.path(), "t10k-labels-idx1-ubyte", &[10], &classes[..10], false);
        let open = |more: &str| {
            let options = format!("path = {:?}\n{more}", folder.path().to_str().unwrap());
            let options = options.parse().unwrap();
            build(&Spec { kind: "idx".into(), options }, &Context::default())
        };
        let mut found = open("labelled_per_class = 2").unwrap();
        assert_eq!(found.format().classes, ["1", "2", "3", "5"]);
        assert_eq!(found.labelled().unwrap().classes, [0, 0, 1, 1, 2, 3, 3]);
        assert_eq!(found.held_out(10).unwrap().unwrap().at(0).classes[..3], [0, 1, 3]);
        let mut counted = open("labelled_per_class = 2\nclasses = 6").unwrap();
        assert_eq!(counted.labelled().unwrap().classes, [1, 1, 2, 2, 3, 5, 5], "0 and 4 have none");
        let error = open("classes = 5").err().unwrap().to_string();
        assert!(
            error.contains("label 5 of item 2 is outside the 5 classes; set source.classes, or leave it out")
        );
        write(folder.path(), "t10k-labels-idx1-ubyte", &[10], &[9; 10], false);
        let error = found.held_out(10).err().unwrap().to_string();
        assert!(error.contains("label 9 of item 0 is outside the 4 classes"), "{error}");
    }

    #[test]
    fn images_of_emnist_are_turned() {
        let folder = tempfile::tempdir().unwrap();
        set(folder.path(), false);
        let turned = read(&mut *source(folder.path(), "transpose = true").unwrap(), 1);
        let shape = source(folder.path(), "transpose = true").unwrap().format().shape;
        assert_eq!(shape.batch(1), [1, 1, 3, 2]);
        let Values::U8(pixels) = turned.values else { panic!() };
        assert_eq!(pixels[1..], [3, 1, 4, 2, 5]);
    }

    #[test]
    fn a_name_may_have_a_dot_where_the_usual_one_has_a_hyphen() {
        for gzip in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            set(folder.path(), gzip);
            for entry in std::fs::read_dir(folder.path()).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().replace("-idx", ".idx");
                std::fs::rename(&path, path.with_file_name(name)).unwrap();
            }
            assert_eq!(read(&mut *source(folder.path(), "").unwrap(), 92).len(), 92);
        }
    }
}
