//! Samples as plain data: shape, type, true classes and labels.

use crate::sample_id::{IdName, SampleId, SampleName};
use serde::{Deserialize, Serialize};

/// Shape of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// `[channels, height, width]`.
    Image {
        /// 1 is grey, 3 is colour.
        channels: usize,
        /// Pixels.
        height: usize,
        /// Pixels.
        width: usize,
    },
    /// `[features]`.
    Vector {
        /// Number of features per sample.
        features: usize,
    },
}

impl Shape {
    /// Returns the number of values per sample.
    pub fn len(&self) -> usize {
        match *self {
            Shape::Image { channels, height, width } => channels * height * width,
            Shape::Vector { features } => features,
        }
    }

    /// Returns whether a sample has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the dimensions of a batch of `count` samples.
    pub fn batch(&self, count: usize) -> Vec<i64> {
        match *self {
            Shape::Image { channels, height, width } => {
                vec![count as i64, channels as i64, height as i64, width as i64]
            }
            Shape::Vector { features } => vec![count as i64, features as i64],
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shape::Image { channels, height, width } => write!(f, "{channels}×{height}×{width}"),
            Shape::Vector { features } => write!(f, "{features} features"),
        }
    }
}

/// Shape, type, scale and classes of a stream's samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Format {
    /// Shape of one sample.
    pub shape: Shape,
    /// Storage type of a value.
    pub dtype: Dtype,
    /// Factor from a stored value to the model's input: 1/255 for ordinary pixels.
    pub scale: f32,
    /// Class names, in the order of the class indices.
    pub classes: Vec<String>,
}

/// Storage type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dtype {
    /// A pixel, uploaded as u8.
    U8,
    /// A 32-bit float.
    F32,
}

impl Dtype {
    /// Returns the number of bytes per value.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::U8 => 1,
            Dtype::F32 => 4,
        }
    }

    /// Returns its name in job files and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::U8 => "u8",
            Dtype::F32 => "f32",
        }
    }
}

/// Values of several samples, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Values {
    /// Pixels.
    U8(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Numbers.
    F32(Vec<f32>),
}

impl Values {
    /// Returns an empty buffer.
    pub fn none(dtype: Dtype) -> Values {
        match dtype {
            Dtype::U8 => Values::U8(Vec::new()),
            Dtype::F32 => Values::F32(Vec::new()),
        }
    }

    /// Returns the storage type.
    pub fn dtype(&self) -> Dtype {
        match self {
            Values::U8(_) => Dtype::U8,
            Values::F32(_) => Dtype::F32,
        }
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        match self {
            Values::U8(values) => values.len(),
            Values::F32(values) => values.len(),
        }
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reserves room for `more` values.
    pub fn reserve(&mut self, more: usize) {
        match self {
            Values::U8(values) => values.reserve_exact(more),
            Values::F32(values) => values.reserve_exact(more),
        }
    }

    /// Appends `range` of `other`.
    ///
    /// # Panics
    /// If the two have different types: all values of a source have one type.
    pub fn extend_from(&mut self, other: &Values, range: std::ops::Range<usize>) {
        match (self, other) {
            (Values::U8(to), Values::U8(from)) => to.extend_from_slice(&from[range]),
            (Values::F32(to), Values::F32(from)) => to.extend_from_slice(&from[range]),
            _ => panic!("values of one stream have one type"),
        }
    }

    /// Overwrites the values from `at` on with `range` of `other`.
    ///
    /// # Panics
    /// If the two have different types, or `self` is too short.
    pub fn copy_from(&mut self, at: usize, other: &Values, range: std::ops::Range<usize>) {
        let to = at..at + range.len();
        match (self, other) {
            (Values::U8(values), Values::U8(from)) => values[to].copy_from_slice(&from[range]),
            (Values::F32(values), Values::F32(from)) => values[to].copy_from_slice(&from[range]),
            _ => panic!("values of one stream have one type"),
        }
    }

    /// Removes the sample at index `at`, each of `length` values; the last sample moves there.
    pub fn swap_remove(&mut self, at: usize, length: usize) {
        fn within<T: Copy>(values: &mut Vec<T>, at: usize, length: usize) {
            let last = values.len() - length;
            values.copy_within(last.., at * length);
            values.truncate(last);
        }
        match self {
            Values::U8(values) => within(values, at, length),
            Values::F32(values) => within(values, at, length),
        }
    }
}

/// True classes, where a source knows them. They reach only reports, evaluation and simulated late
/// labels, never the student or the filter: the type keeps them apart, and a test checks which files
/// call [`Truth::reveal`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Truth(Vec<i32>);

impl Truth {
    /// Adds the class of one more sample; `None` if unknown.
    pub fn push(&mut self, class: Option<usize>) {
        self.0.push(class.map_or(-1, |class| class as i32));
    }

    /// Adds the classes of further samples.
    pub fn append(&mut self, other: Truth) {
        self.0.extend(other.0);
    }

    /// Returns the class of each sample, -1 where unknown.
    pub fn reveal(&self) -> &[i32] {
        &self.0
    }
}

/// A label for a sample, possibly long after the sample was streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The sample's id.
    pub id: u64,
    /// Its class; `None` withdraws an earlier label.
    pub class: Option<u32>,
}

/// Unlabelled samples from a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// Keys of the samples' ids, unique in the stream.
    pub ids: Vec<u64>,
    /// Names of those whose id is not the key, by index.
    pub names: Vec<(usize, IdName)>,
    /// `[B, …]` sample values.
    pub values: Values,
    /// `[B]` true classes, where known.
    pub truth: Truth,
    /// Labels that came with samples, for the student: unlike `truth`.
    pub labels: Vec<Label>,
}

impl Samples {
    /// Creates an empty set of samples.
    pub fn none(dtype: Dtype) -> Self {
        let (ids, names, labels) = (Vec::new(), Vec::new(), Vec::new());
        Self { ids, names, values: Values::none(dtype), truth: Truth::default(), labels }
    }

    /// Adds the id of one more sample.
    pub fn push_id(&mut self, id: SampleId) {
        self.names.extend(id.name.map(|name| (self.ids.len(), name)));
        self.ids.push(id.key);
    }

    /// Adds one sample; `class` is its true class, if the source knows it.
    pub fn push(&mut self, id: u64, values: &Values, class: Option<usize>) {
        self.ids.push(id);
        self.values.extend_from(values, 0..values.len());
        self.truth.push(class);
    }

    /// Adds further samples.
    pub fn append(&mut self, other: Samples) {
        self.values.extend_from(&other.values, 0..other.values.len());
        let before = self.ids.len();
        self.names.extend(other.names.into_iter().map(|(at, name)| (before + at, name)));
        self.ids.extend(other.ids);
        self.truth.append(other.truth);
        self.labels.extend(other.labels);
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Labelled samples, as sources deliver them and the replay buffer stores them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    /// `[count, …]` sample values.
    pub values: Values,
    /// `[count]` class indices.
    pub classes: Vec<i64>,
}

impl Labelled {
    /// Returns no samples, with values of `dtype`.
    pub fn none(dtype: Dtype) -> Self {
        Self { values: Values::none(dtype), classes: Vec::new() }
    }

    /// Adds further samples.
    pub fn append(&mut self, other: Labelled) {
        self.values.extend_from(&other.values, 0..other.values.len());
        self.classes.extend(other.classes);
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Returns whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }
}

/// Class of a sample of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleClass {
    /// Index of the sample in the block.
    pub at: u32,
    /// Its class.
    pub class: u32,
}

/// Samples as they arrive and as the log stores them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// `[count]` keys; empty if ids are to be assigned.
    pub ids: Vec<u64>,
    /// Names of those whose id is not the key, by index.
    pub names: Vec<SampleName>,
    /// Labels that came with samples, by index.
    pub classes: Vec<SampleClass>,
    /// `[count, …]` in the job's dtype, little-endian.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl Block {
    /// Appends the id of one sample.
    pub fn push_id(&mut self, id: SampleId) {
        let at = self.ids.len() as u32;
        self.names.extend(id.name.map(|name| SampleName { at, name }));
        self.ids.push(id.key);
    }

    /// Returns the id of a sample, if the block has ids.
    pub fn id(&self, at: usize) -> Option<SampleId> {
        let place = self.names.binary_search_by_key(&(at as u32), |one| one.at);
        let name = place.ok().map(|place| self.names[place].name.clone());
        Some(SampleId { key: *self.ids.get(at)?, name })
    }

    /// Returns the names of the samples `range`, counted from its start.
    pub fn names_in(&self, range: std::ops::Range<usize>) -> Vec<SampleName> {
        let place = |index: usize| self.names.partition_point(|one| (one.at as usize) < index);
        let within = &self.names[place(range.start)..place(range.end)];
        within
            .iter()
            .map(|one| SampleName { at: one.at - range.start as u32, name: one.name.clone() })
            .collect()
    }

    /// Returns the classes of the samples `range`, counted from its start.
    pub fn classes_in(&self, range: std::ops::Range<usize>) -> Vec<SampleClass> {
        let place = |index: usize| self.classes.partition_point(|one| (one.at as usize) < index);
        let within = &self.classes[place(range.start)..place(range.end)];
        within.iter().map(|one| SampleClass { at: one.at - range.start as u32, ..*one }).collect()
    }

    /// Appends the values of one sample.
    pub fn push(&mut self, values: &Values) {
        match values {
            Values::U8(values) => self.bytes.extend_from_slice(values),
            Values::F32(values) => {
                let from = self.bytes.len();
                self.bytes.resize(from + 4 * values.len(), 0);
                let places = self.bytes[from..].chunks_exact_mut(4);
                places.zip(values).for_each(|(place, value)| place.copy_from_slice(&value.to_le_bytes()));
            }
        }
    }
}

/// Returns the size of one sample in bytes.
pub fn sample_bytes(format: &Format) -> usize {
    format.shape.len() * format.dtype.bytes()
}

/// Decodes little-endian bytes as values.
pub fn values(dtype: Dtype, bytes: &[u8]) -> Values {
    match dtype {
        Dtype::U8 => Values::U8(bytes.to_vec()),
        Dtype::F32 => {
            let parts = bytes.chunks_exact(4);
            Values::F32(parts.map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]])).collect())
        }
    }
}
