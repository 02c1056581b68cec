//! What each edge of the dataflow carries, in the order of the dataflow, with shapes.
//!
//! L: labelled samples of a step. B: unlabelled samples of a step. A: those of B whose
//! strong view is made. C: classes. `…` is the sample's own shape: `[channels, height,
//! width]` or `[features]`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

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

/// Values of several samples, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Values {
    /// Pixels.
    U8(Vec<u8>),
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

    /// The class of each sample, -1 where it is not known.
    pub fn reveal(&self) -> &[i32] {
        &self.0
    }
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
    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }
}

/// The stages of the dataflow, in order: the columns of an epoch's report.
pub const STAGES: [&str; 9] =
    ["source", "batch", "weak", "teach", "filter", "strong", "learn", "report", "commit"];

/// The resumable state of the whole dataflow after a step. It rides the stream: each stage
/// that owns state adds its section as the snapshot passes.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Steps done when it was taken: a restart begins with this step.
    pub step: u64,
    /// Bytes of each owner's state.
    pub sections: BTreeMap<String, Vec<u8>>,
    /// The teacher under PyTorch's names, for `model.safetensors`.
    pub model: Vec<(String, Tensor)>,
}

/// What is known of a step apart from its tensors; handed from edge to edge.
#[derive(Debug)]
pub struct Ticket {
    /// The step: timely's timestamp.
    pub step: u64,
    /// `[B]`.
    pub ids: Vec<u64>,
    /// `[B]`.
    pub truth: Truth,
    /// The step ends an epoch.
    pub ends_epoch: bool,
    /// Nothing but a snapshot passes: no sample, no update, no step.
    pub barrier: bool,
    /// Seconds the stream had no sample to give while the step was gathered.
    pub starved_s: f64,
    /// Records of the stream that could not be read so far.
    pub dead_letters: u64,
    /// Seconds spent in each of [`STAGES`].
    pub stage_s: [f64; STAGES.len()],
    /// Present where the state after this step is wanted.
    pub snapshot: Option<Box<Snapshot>>,
}

/// A message on an edge of the dataflow: a step's ticket with what the edge adds to it.
pub trait Edge: 'static {
    /// The ticket.
    fn ticket(&mut self) -> &mut Ticket;
}

/// source → batch: plain data, so that it could cross workers.
#[derive(Debug)]
pub struct Chunk {
    /// The step.
    pub ticket: Ticket,
    /// Labelled samples that are new in this step.
    pub labelled: Option<Labelled>,
    /// `[B, …]`.
    pub values: Values,
}

/// Labelled samples of a step, on the device.
#[derive(Debug)]
pub struct LabelledBatch {
    /// `[L, …]` f32: the model's input.
    pub input: Tensor,
    /// `[L]` i64.
    pub classes: Tensor,
}

/// batch → weak: everything from here on is on the device.
#[derive(Debug)]
pub struct Batch {
    /// The step.
    pub ticket: Ticket,
    /// None where no labelled sample is known yet.
    pub labelled: Option<LabelledBatch>,
    /// Labelled samples in memory.
    pub labels_known: u64,
    /// `[B, …]` f32, as the source gave it (scaled).
    pub unlabelled: Tensor,
}

/// weak → teach.
#[derive(Debug)]
pub struct Views {
    /// The step.
    pub ticket: Ticket,
    /// Labelled samples, augmented.
    pub labelled: Option<LabelledBatch>,
    /// Labelled samples in memory.
    pub labels_known: u64,
    /// `[B, …]` f32, not augmented.
    pub unlabelled: Tensor,
    /// As many weak views as the method asks for, each `[B, …]` f32.
    pub weak: Vec<Tensor>,
}

/// What the teacher says of the samples of a step.
#[derive(Debug)]
pub struct Scores {
    /// One for each weak view: `[B, C]` f32, rows sum to 1.
    pub unlabelled: Vec<Tensor>,
    /// `[L, C]` f32, where the method asks for it and there are labelled samples.
    pub labelled: Option<Tensor>,
    /// `[B, F]` f32 of the first weak view, where the method asks for it.
    pub features: Option<Tensor>,
}

/// teach → filter.
#[derive(Debug)]
pub struct Scored {
    /// The step.
    pub ticket: Ticket,
    /// Labelled samples, augmented.
    pub labelled: Option<LabelledBatch>,
    /// Labelled samples in memory.
    pub labels_known: u64,
    /// `[B, …]` f32, not augmented.
    pub unlabelled: Tensor,
    /// What the teacher said.
    pub scores: Scores,
    /// Student updates that the teacher had seen.
    pub teacher_step: u64,
}

/// What a pseudo-label says.
#[derive(Debug)]
pub enum Target {
    /// `[B]` i64: one class a sample.
    Hard(Tensor),
    /// `[B, C]` f32: a distribution a sample.
    Soft(Tensor),
}

impl Target {
    /// The rows named by `index` `[A]` i64.
    pub fn select(&self, index: &Tensor) -> Target {
        match self {
            Target::Hard(classes) => Target::Hard(classes.index_select(0, index)),
            Target::Soft(rows) => Target::Soft(rows.index_select(0, index)),
        }
    }
}

/// What the method makes of the teacher's scores.
#[derive(Debug)]
pub struct Judgement {
    /// `[B]` i64: the likeliest class.
    pub class: Tensor,
    /// `[B]` f32: its probability.
    pub confidence: Tensor,
    /// What the student is to learn.
    pub target: Target,
    /// `[B]` f32: weight in the unlabelled loss; 0 is rejected.
    pub weight: Tensor,
    /// Further tensors that the method's own loss wants.
    pub aux: BTreeMap<&'static str, Tensor>,
}

impl Judgement {
    /// The judgement of no sample.
    pub fn none(device: Device) -> Self {
        let empty = |kind| Tensor::zeros([0], (kind, device));
        Self {
            class: empty(Kind::Int64),
            confidence: empty(Kind::Float),
            target: Target::Hard(empty(Kind::Int64)),
            weight: empty(Kind::Float),
            aux: BTreeMap::new(),
        }
    }

    /// `[B]` bool: what passed the filter.
    pub fn accepted(&self) -> Tensor {
        self.weight.gt(0.0)
    }
}

/// filter → strong.
#[derive(Debug)]
pub struct Judged {
    /// The step.
    pub ticket: Ticket,
    /// Labelled samples, augmented.
    pub labelled: Option<LabelledBatch>,
    /// Labelled samples in memory.
    pub labels_known: u64,
    /// `[A, …]` f32, not augmented: what passed the filter (all of B in mask mode).
    pub selected: Tensor,
    /// `[A]` i64 positions in B; none in mask mode.
    pub index: Option<Tensor>,
    /// The judgement of all of B.
    pub judgement: Judgement,
    /// Student updates that the teacher had seen.
    pub teacher_step: u64,
}

/// strong → learn.
#[derive(Debug)]
pub struct Lesson {
    /// The step.
    pub ticket: Ticket,
    /// Labelled samples, augmented.
    pub labelled: Option<LabelledBatch>,
    /// Labelled samples in memory.
    pub labels_known: u64,
    /// As many strong views as the method asks for, each `[A, …]` f32.
    pub strong: Vec<Tensor>,
    /// `[A]` i64 positions in B; none in mask mode.
    pub index: Option<Tensor>,
    /// The judgement of all of B.
    pub judgement: Judgement,
    /// Student updates that the teacher had seen.
    pub teacher_step: u64,
}

/// learn → teach, round the loop: the teacher's weights after a step. Immutable.
#[derive(Debug)]
pub struct Weights {
    /// Student updates they hold.
    pub step: u64,
    /// `[parameters]` f32.
    pub parameters: Tensor,
    /// `[buffers]` f32: batch norm's running statistics.
    pub buffers: Tensor,
}

impl Weights {
    /// The same weights, sharing memory.
    pub fn share(&self) -> Weights {
        Weights {
            step: self.step,
            parameters: self.parameters.shallow_clone(),
            buffers: self.buffers.shallow_clone(),
        }
    }
}

/// learn → report → commit: what a step did. Tensors stay on the device until the reporter
/// brings many steps over at once.
#[derive(Debug)]
pub struct Outcome {
    /// The step.
    pub ticket: Ticket,
    /// `[2]` f32: labelled and unlabelled loss.
    pub losses: Tensor,
    /// `[B]` i64 classes the teacher gave.
    pub class: Tensor,
    /// `[B]` bool: what passed the filter.
    pub accepted: Tensor,
    /// Samples that went through the student's forward and backward pass for the unlabelled
    /// loss.
    pub student_samples: u64,
    /// Student updates that the teacher had seen.
    pub teacher_step: u64,
    /// Labelled samples in memory.
    pub labels_known: u64,
    /// The teacher after this step, where it ends an epoch.
    pub teacher: Option<Weights>,
}

macro_rules! edges {
    ($($edge:ty),*) => { $(impl Edge for $edge {
        fn ticket(&mut self) -> &mut Ticket {
            &mut self.ticket
        }
    })* };
}
edges!(Chunk, Batch, Views, Scored, Judged, Lesson, Outcome);

/// `values` (u8 or f32) as the model's input: f32, scaled.
pub fn scaled(values: &Tensor, scale: f32) -> Tensor {
    match values.kind() {
        Kind::Uint8 => values.to_kind(Kind::Float) * f64::from(scale),
        _ => values.shallow_clone(),
    }
}
