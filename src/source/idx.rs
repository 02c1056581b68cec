//! IDX files, gzip or raw: MNIST, Fashion-MNIST and their kin (Y. LeCun's format). The images
//! are read block by block and shuffled within a block, so memory holds one block of decoded
//! samples, however long the file is.

use super::{Context, HeldOut, Progress, Source};
use crate::error::{Error, Result};
use crate::randomness::{Randomness, Stage};
use crate::registry::{Spec, settings};
use crate::samples::{Dtype, Format, Labelled, Samples, Shape, Values};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder that holds the files.
    pub path: PathBuf,
    /// File of the streamed images, with or without `.gz`.
    #[serde(default = "train_images")]
    pub images: String,
    /// File of their classes.
    #[serde(default = "train_labels")]
    pub labels: String,
    /// File of the images for evaluation; "" for none.
    #[serde(default = "test_images")]
    pub test_images: String,
    /// File of their classes.
    #[serde(default = "test_labels")]
    pub test_labels: String,
    /// Number of classes.
    #[serde(default = "ten")]
    pub classes: usize,
    /// Labelled samples of each class.
    #[serde(default = "twenty_five")]
    pub labelled_per_class: usize,
    /// Samples that are decoded and shuffled at a time.
    #[serde(default = "block")]
    pub shuffle_buffer: usize,
    /// Begin again at the end of the file, for ever.
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
fn twenty_five() -> usize {
    25
}
fn block() -> usize {
    4096
}
fn yes() -> bool {
    true
}

impl crate::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut least = |key, value: usize, least: usize| {
            if value < least {
                faults.push((key, format!("{value} is less than {least}")));
            }
        };
        least("classes", self.classes, 2);
        least("labelled_per_class", self.labelled_per_class, 1);
        least("shuffle_buffer", self.shuffle_buffer, 1);
        faults
    }
}

/// Images and classes side by side, read forward.
struct Pair {
    images: Reader,
    labels: Reader,
    side: (usize, usize),
    classes: usize,
}

/// One IDX file of bytes, read item by item.
struct Reader {
    path: PathBuf,
    input: Box<dyn Read>,
    shape: Vec<usize>,
    item: usize,
}

impl Reader {
    fn open(folder: &Path, name: &str, dimensions: usize) -> Result<Self> {
        let plain = folder.join(name);
        let path = match plain.exists() {
            true => plain,
            false => {
                let gzip = folder.join(format!("{name}.gz"));
                if gzip.exists() { gzip } else { plain }
            }
        };
        let mut input = super::open(&path, 0)?;
        let mut head = vec![0; 4 + 4 * dimensions];
        let fault = |reason: String| Error::file(&path, reason);
        input.read_exact(&mut head).map_err(|_| fault("too short for an IDX header".into()))?;
        let wanted = [0, 0, 8, dimensions as u8];
        if head[..4] != wanted {
            return Err(fault(format!(
                "wrong magic number {:02x?}: an IDX file of bytes with {dimensions} dimensions starts {wanted:02x?}",
                &head[..4]
            )));
        }
        let sizes = head[4..].chunks_exact(4);
        let shape: Vec<usize> =
            sizes.map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize).collect();
        if shape.contains(&0) {
            return Err(fault(format!("the header says {shape:?}: there is nothing in it")));
        }
        Ok(Self { path, input, shape, item: 0 })
    }

    fn read(&mut self, into: &mut [u8]) -> Result<()> {
        self.input.read_exact(into).map_err(|error| {
            let reason = match error.kind() {
                std::io::ErrorKind::UnexpectedEof => "the file is truncated".to_string(),
                _ => error.to_string(),
            };
            let (item, count) = (self.item, self.shape[0]);
            Error::file(&self.path, format!("{reason}: item {item} of the {count} that the header promises"))
        })?;
        self.item += 1;
        Ok(())
    }
}

impl Pair {
    fn open(folder: &Path, images: &str, labels: &str, classes: usize) -> Result<Self> {
        let images = Reader::open(folder, images, 3)?;
        let labels = Reader::open(folder, labels, 1)?;
        if images.shape[0] != labels.shape[0] {
            return Err(Error::file(
                &labels.path,
                format!(
                    "holds {} classes, but {} holds {} images",
                    labels.shape[0],
                    images.path.display(),
                    images.shape[0]
                ),
            ));
        }
        let side = (images.shape[1], images.shape[2]);
        Ok(Self { images, labels, side, classes })
    }

    fn count(&self) -> usize {
        self.images.shape[0]
    }

    /// Reads the next image into `image` and gives its class.
    fn next(&mut self, image: &mut [u8]) -> Result<usize> {
        let mut label = [0];
        self.labels.read(&mut label)?;
        self.images.read(image)?;
        let class = usize::from(label[0]);
        if class >= self.classes {
            return Err(Error::file(
                &self.labels.path,
                format!(
                    "label {class} of item {} is outside the {} classes; set source.classes",
                    self.labels.item - 1,
                    self.classes
                ),
            ));
        }
        Ok(class)
    }
}

/// Samples decoded together; `order` is how they leave.
#[derive(Default)]
struct Block {
    pixels: Vec<u8>,
    classes: Vec<usize>,
    first: usize,
    order: Vec<usize>,
}

/// Where the stream is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Position {
    /// Passes over the file that are done.
    pass: u64,
    /// Block within the pass.
    block: u64,
    /// Samples of the block that have left.
    taken: u64,
    /// Samples of the stream that have left.
    streamed: u64,
}

struct Idx {
    options: Settings,
    randomness: Randomness,
    format: Format,
    labelled: Vec<usize>,
    labelled_set: HashSet<usize>,
    samples: Labelled,
    position: Position,
    pair: Option<(u64, Pair)>,
    block: Option<Block>,
}

/// Makes the source from resolved options.
pub fn build(spec: &Spec, context: &Context) -> Result<Box<dyn Source>> {
    let options: Settings = settings(spec)?;
    let pair = Pair::open(&options.path, &options.images, &options.labels, options.classes)?;
    let (height, width) = pair.side;
    let mut idx = Idx {
        randomness: Randomness::new(context.seed, 0),
        format: Format {
            shape: Shape::Image { channels: 1, height, width },
            dtype: Dtype::U8,
            scale: 1.0 / 255.0,
            classes: (0..options.classes).map(|class| class.to_string()).collect(),
        },
        options,
        labelled: Vec::new(),
        labelled_set: HashSet::new(),
        samples: Labelled { values: Values::U8(Vec::new()), classes: Vec::new() },
        position: Position::default(),
        pair: None,
        block: None,
    };
    idx.choose_labelled(pair)?;
    Ok(Box::new(idx))
}

impl Idx {
    /// Draws the labelled samples from the first block, and further ones where that has too
    /// few of a class.
    fn choose_labelled(&mut self, mut pair: Pair) -> Result<()> {
        let wanted = self.options.labelled_per_class;
        let mut chosen: Vec<Vec<(usize, Vec<u8>)>> = vec![Vec::new(); self.options.classes];
        let mut image = vec![0; self.format.shape.len()];
        let mut next = 0;
        while next < pair.count() && chosen.iter().any(|of_class| of_class.len() < wanted) {
            let mut candidates = Vec::new();
            for index in next..pair.count().min(next + self.options.shuffle_buffer) {
                candidates.push((pair.next(&mut image)?, index, image.clone()));
            }
            next += candidates.len();
            candidates.shuffle(&mut self.randomness.at(u64::MAX - next as u64, Stage::Source));
            for (class, index, image) in candidates {
                if chosen[class].len() < wanted {
                    chosen[class].push((index, image));
                }
            }
        }
        if let Some(class) = chosen.iter().position(|of_class| of_class.len() < wanted) {
            let reason = format!(
                "has {} samples of class {class}, but source.labelled_per_class is {wanted}",
                chosen[class].len()
            );
            return Err(Error::file(&pair.labels.path, reason));
        }
        for (class, of_class) in chosen.into_iter().enumerate() {
            for (index, image) in of_class {
                let count = image.len();
                self.samples.values.extend_from(&Values::U8(image), 0..count);
                self.samples.classes.push(class as i64);
                self.labelled.push(index);
            }
        }
        self.labelled_set = self.labelled.iter().copied().collect();
        if self.labelled_set.len() == pair.count() {
            let reason = "every sample is labelled, so there is no stream; lower source.labelled_per_class";
            return Err(Error::file(&pair.labels.path, reason));
        }
        Ok(())
    }

    /// Decodes block `self.position.block` of pass `self.position.pass`, reading forward from
    /// where the file stands.
    fn decode(&mut self) -> Result<Option<Block>> {
        let at = self.position;
        let first = at.block as usize * self.options.shuffle_buffer;
        let behind = |(pass, pair): &(u64, Pair)| *pass != at.pass || pair.images.item > first;
        if self.pair.as_ref().is_none_or(behind) {
            let options = &self.options;
            let pair = Pair::open(&options.path, &options.images, &options.labels, options.classes)?;
            if pair.side != self.side() {
                let reason = format!("now holds images of {:?}, not {:?}", pair.side, self.side());
                return Err(Error::file(&pair.images.path, reason));
            }
            self.pair = Some((at.pass, pair));
        }
        let pixels = self.format.shape.len();
        let Some((_, pair)) = &mut self.pair else { return Ok(None) };
        let mut image = vec![0; pixels];
        while pair.images.item < first.min(pair.count()) {
            pair.next(&mut image)?;
        }
        let count = self.options.shuffle_buffer.min(pair.count() - first.min(pair.count()));
        if count == 0 {
            return Ok(None);
        }
        let mut block = Block { pixels: vec![0; count * pixels], first, ..Block::default() };
        for slot in block.pixels.chunks_exact_mut(pixels) {
            block.classes.push(pair.next(slot)?);
        }
        block.order = (0..count).filter(|slot| !self.labelled_set.contains(&(first + slot))).collect();
        let key = (at.pass << 32) | at.block;
        block.order.shuffle(&mut self.randomness.at(key, Stage::Source));
        Ok(Some(block))
    }

    fn side(&self) -> (usize, usize) {
        match self.format.shape {
            Shape::Image { height, width, .. } => (height, width),
            Shape::Vector { features } => (1, features),
        }
    }
}

impl Source for Idx {
    fn format(&self) -> &Format {
        &self.format
    }

    fn labelled(&mut self) -> Result<Labelled> {
        Ok(self.samples.clone())
    }

    fn held_out(&self, limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        let options = &self.options;
        if options.test_images.is_empty() {
            return Ok(None);
        }
        let mut pair =
            Pair::open(&options.path, &options.test_images, &options.test_labels, options.classes)?;
        if pair.side != self.side() {
            let reason = format!("holds images of {:?}, but the stream's are {:?}", pair.side, self.side());
            return Err(Error::file(&pair.images.path, reason));
        }
        let count = limit.min(pair.count());
        let mut pixels = vec![0; count * self.format.shape.len()];
        let mut classes = Vec::with_capacity(count);
        for slot in pixels.chunks_exact_mut(self.format.shape.len()) {
            classes.push(pair.next(slot)? as i64);
        }
        Ok(Some(Box::new(Labelled { values: Values::U8(pixels), classes })))
    }

    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<Progress> {
        let pixels = self.format.shape.len();
        let mut left = count;
        while left > 0 {
            if self.block.is_none() {
                self.block = self.decode()?;
            }
            let Some(block) = &self.block else {
                if !self.options.repeat {
                    return Ok(Progress::End);
                }
                self.position.pass += 1;
                self.position.block = 0;
                continue;
            };
            let Values::U8(values) = &mut samples.values else {
                return Err(Error::Engine("IDX samples are u8".into()));
            };
            let from = self.position.taken as usize;
            let taken = &block.order[from..block.order.len().min(from + left)];
            for slot in taken {
                values.extend_from_slice(&block.pixels[slot * pixels..][..pixels]);
                let pass = self.position.pass * self.pair.as_ref().map_or(0, |(_, p)| p.count() as u64);
                samples.ids.push(pass + (block.first + slot) as u64);
                samples.truth.push(Some(block.classes[*slot]));
            }
            left -= taken.len();
            self.position.taken += taken.len() as u64;
            self.position.streamed += taken.len() as u64;
            if self.position.taken as usize == block.order.len() {
                self.position.block += 1;
                self.position.taken = 0;
                self.block = None;
            }
        }
        Ok(Progress::Full)
    }

    fn snapshot(&self) -> Vec<u8> {
        bincode::serialize(&self.position).unwrap_or_default()
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let damaged = |_| Error::request("the source's state is damaged");
        self.position = bincode::deserialize(state).map_err(damaged)?;
        self.block = None;
        self.pair = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    /// 100 images of 2×3 whose first pixel is their index, in 4 classes.
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
    fn a_restored_stream_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        set(folder.path(), true);
        for skipped in [1, 15, 16, 50, 91, 92, 100, 250] {
            let mut whole = source(folder.path(), "").unwrap();
            read(&mut *whole, skipped);
            let state = whole.snapshot();
            let mut resumed = source(folder.path(), "").unwrap();
            resumed.restore(&state).unwrap();
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
