//! Samples as plain data: their shape and type, and what is known of their classes.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

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
        /// Numbers a sample.
        features: usize,
    },
}

impl Shape {
    /// Values a sample.
    pub fn len(&self) -> usize {
        match *self {
            Shape::Image { channels, height, width } => channels * height * width,
            Shape::Vector { features } => features,
        }
    }

    /// Whether a sample holds no value at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The dimensions, with a batch of `count` in front.
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

/// What the samples of a stream look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Format {
    /// Shape of one sample.
    pub shape: Shape,
    /// How a value is stored.
    pub dtype: Dtype,
    /// A stored value times this is what the model sees: 1/255 for ordinary pixels.
    pub scale: f32,
    /// Names of the classes, in the order of their numbers.
    pub classes: Vec<String>,
}

/// How a source stores a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dtype {
    /// A pixel: it goes to the device as it is.
    U8,
    /// A number.
    F32,
}

impl Dtype {
    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::U8 => 1,
            Dtype::F32 => 4,
        }
    }

    /// Its name in job files and on the wire.
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
    /// No values.
    pub fn none(dtype: Dtype) -> Values {
        match dtype {
            Dtype::U8 => Values::U8(Vec::new()),
            Dtype::F32 => Values::F32(Vec::new()),
        }
    }

    /// Their type.
    pub fn dtype(&self) -> Dtype {
        match self {
            Values::U8(_) => Dtype::U8,
            Values::F32(_) => Dtype::F32,
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Values::U8(values) => values.len(),
            Values::F32(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for `more` values.
    pub fn reserve(&mut self, more: usize) {
        match self {
            Values::U8(values) => values.reserve_exact(more),
            Values::F32(values) => values.reserve_exact(more),
        }
    }

    /// Appends `range` of `other`.
    ///
    /// # Panics
    /// Where the two are of different types: a source has one.
    pub fn extend_from(&mut self, other: &Values, range: std::ops::Range<usize>) {
        match (self, other) {
            (Values::U8(to), Values::U8(from)) => to.extend_from_slice(&from[range]),
            (Values::F32(to), Values::F32(from)) => to.extend_from_slice(&from[range]),
            _ => panic!("values of one stream have one type"),
        }
    }

    /// Writes `range` of `other` over the values from `at` on.
    ///
    /// # Panics
    /// Where the two are of different types, or there are too few.
    pub fn copy_from(&mut self, at: usize, other: &Values, range: std::ops::Range<usize>) {
        let to = at..at + range.len();
        match (self, other) {
            (Values::U8(values), Values::U8(from)) => values[to].copy_from_slice(&from[range]),
            (Values::F32(values), Values::F32(from)) => values[to].copy_from_slice(&from[range]),
            _ => panic!("values of one stream have one type"),
        }
    }

    /// Removes the sample at place `at`, each of `length` values; the last one moves there.
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

    /// The values as a tensor `[count, …]` on the CPU.
    pub fn tensor(&self, shape: Shape) -> Tensor {
        let count = self.len() / shape.len();
        let flat = match self {
            Values::U8(values) => Tensor::from_slice(values),
            Values::F32(values) => Tensor::from_slice(values),
        };
        flat.view(shape.batch(count).as_slice())
    }
}

/// Classes that a source happens to know. They reach reports, evaluation and simulated late
/// labels only, never the student or the filter: the type keeps them apart, and a test
/// checks who calls [`Truth::reveal`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Truth(Vec<i32>);

impl Truth {
    /// Adds the class of one more sample, or that it is not known.
    pub fn push(&mut self, class: Option<usize>) {
        self.0.push(class.map_or(-1, |class| class as i32));
    }

    /// Adds the classes of further samples.
    pub fn append(&mut self, other: Truth) {
        self.0.extend(other.0);
    }

    /// The class of each sample, -1 where it is not known.
    pub fn reveal(&self) -> &[i32] {
        &self.0
    }
}

/// What somebody says of a sample, perhaps long after it streamed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The sample's id.
    pub id: u64,
    /// Its class; none withdraws what was said before.
    pub class: Option<u32>,
}

/// Unlabelled samples as a source gives them.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// Names of the samples, unique in the stream.
    pub ids: Vec<u64>,
    /// `[B, …]`.
    pub values: Values,
    /// `[B]`.
    pub truth: Truth,
}

impl Samples {
    /// No samples.
    pub fn none(dtype: Dtype) -> Self {
        Self { ids: Vec::new(), values: Values::none(dtype), truth: Truth::default() }
    }

    /// Adds further samples.
    pub fn append(&mut self, other: Samples) {
        self.values.extend_from(&other.values, 0..other.values.len());
        self.ids.extend(other.ids);
        self.truth.append(other.truth);
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Labelled samples as a source gives them and the memory keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    /// `[count, …]`.
    pub values: Values,
    /// `[count]`.
    pub classes: Vec<i64>,
}

impl Labelled {
    /// Adds further samples.
    pub fn append(&mut self, other: Labelled) {
        self.values.extend_from(&other.values, 0..other.values.len());
        self.classes.extend(other.classes);
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }
}

/// `values` (u8 or f32) as the model's input: f32, scaled.
pub fn scaled(values: &Tensor, scale: f32) -> Tensor {
    match values.kind() {
        Kind::Float if scale == 1.0 => values.shallow_clone(),
        _ => values.to_kind(Kind::Float) * f64::from(scale),
    }
}
