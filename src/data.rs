//! Messages on the edges of the dataflow, in dataflow order, with shapes.
//!
//! L: labelled samples of a step. B: unlabelled samples of a step. A: those of B for which a strong
//! view is made. C: classes. F: features. `…` is the sample's own shape: `[channels, height,
//! width]` or `[features]`.

mod judgement;
mod paced;

use crate::gallery::Pick;
use crate::ledger::Standing;
use crate::report::Report;
use crate::samples::{Label, Labelled, Truth, Values};
use crate::student::answer::Answer;
pub use judgement::{Findings, Judgement, Target, select};
pub use paced::{Discriminants, Fresh, Paced};
use serde::Serialize;
use std::collections::BTreeMap;
use tch::Tensor;

/// The timed stages in dataflow order: the columns of an epoch's report.
pub const STAGES: [&str; 8] = ["source", "batch", "weak", "teach", "filter", "strong", "learn", "report"];

/// The resumable state of the whole dataflow after a step. It travels with the step: each stage
/// that owns state adds its section as the snapshot passes.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Number of completed steps; a restart begins with this step.
    pub step: u64,
    /// First record of the write-ahead log that a restart from here reads; `None` in jobs without one.
    pub log_position: Option<u64>,
    /// Serialised state by owner.
    pub sections: BTreeMap<String, Vec<u8>>,
    /// The teacher's tensors under PyTorch's names, for `model.safetensors`.
    pub model: Vec<(String, Tensor)>,
}

/// Metadata of a step, without its tensors; each stage hands it to the next.
#[derive(Debug)]
pub struct Ticket {
    /// Step number: Timely's timestamp.
    pub step: u64,
    /// `[B]` sample ids.
    pub ids: Vec<u64>,
    /// `[B]` true classes, where the source knows them.
    pub truth: Truth,
    /// Number of streamed samples before this step.
    pub position: u64,
    /// Samples that each of the job's sources contributed to the step.
    pub taken: Vec<u32>,
    /// Late labels that take effect in this step, in order of arrival.
    pub labels: Vec<Label>,
    /// Positions in B of samples that already have a label: the filter judges them, but they have
    /// weight 0 in the unlabelled loss. Filled in by `batch`.
    pub labelled_already: Vec<i64>,
    /// Wall time at which the source stage cut the step, in ms since 1970; 0 where nothing depends on it.
    pub cut_ms: u64,
    /// Whether the step ends an epoch.
    pub ends_epoch: bool,
    /// Whether the message only carries a snapshot: no samples, no update, not counted as a step.
    pub barrier: bool,
    /// Whether a drift alarm takes effect here: the replay weights of all earlier labelled samples decay.
    pub reweights: bool,
    /// Near-future test: work due in this step.
    pub ahead: Ahead,
    /// Delays of the step at the source.
    pub waits: Waits,
    /// Dead letters of each of the job's sources so far.
    pub dead_letters: Vec<u64>,
    /// Dead letters and refused requests so far, counted by reason; filled only where the step ends an epoch.
    pub reasons: Vec<(String, u64)>,
    /// Samples to show as thumbnails.
    pub picks: Vec<Pick>,
    /// Seconds spent in each of [`STAGES`].
    pub stage_s: [f64; STAGES.len()],
    /// The snapshot being assembled, where the state after this step is to be saved.
    pub snapshot: Option<Box<Snapshot>>,
}

/// Near-future test: a teacher is tested on samples that the stream delivers later.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Distance in samples beyond which label autocorrelation no longer helps; computed where the
    /// step ends an epoch.
    pub shift: Option<u64>,
    /// Whether to keep the teacher after this step for a test.
    pub keep: bool,
    /// Test samples for the teacher kept last, if they are due.
    pub probe: Option<Box<Probe>>,
}

/// This step's samples, used to test a teacher kept earlier.
#[derive(Debug)]
pub struct Probe {
    /// Number of student updates the kept teacher has seen.
    pub of_step: u64,
    /// `[B, …]` sample values.
    pub values: Values,
    /// `[B]` true classes, where known.
    pub truth: Truth,
}

/// Delays of a step at the source, and fill levels at the time it left.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waits {
    /// Seconds without available samples while the step was gathered.
    pub starved_s: f64,
    /// Seconds without credit: the maximum number of steps was in flight.
    pub credit_s: f64,
    /// Seconds paused by the user.
    pub paused_s: f64,
    /// Steps in flight, including this one.
    pub under_way: u64,
    /// Fraction of the write-ahead log's capacity in use; `None` in jobs without one.
    pub log_fill: Option<f64>,
    /// Samples ingested so far; `None` in jobs without a write-ahead log.
    pub arrived: Option<u64>,
}

/// A message on an edge of the dataflow: a step's ticket and what the edge adds to it.
pub trait Edge: 'static {
    /// Returns the step's ticket.
    fn ticket(&mut self) -> &mut Ticket;
}

/// source → batch: a micro-batch of plain data, so that it could cross workers.
#[derive(Debug)]
pub struct Chunk {
    /// Metadata of the step.
    pub ticket: Ticket,
    /// Labelled samples that are new in this step.
    pub labelled: Option<Labelled>,
    /// `[B, …]` values of the unlabelled samples.
    pub values: Values,
}

/// Labelled samples of a step, on the device.
#[derive(Debug)]
pub struct LabelledBatch {
    /// `[L, …]` f32: the model's input.
    pub input: Tensor,
    /// `[L]` i64 class indices.
    pub classes: Tensor,
    /// `[L]` keys of the samples in the replay buffer; a sample keeps its key.
    pub keys: Vec<u64>,
}

/// batch → weak: from here on everything is on the device.
#[derive(Debug)]
pub struct Batch {
    /// Metadata of the step.
    pub ticket: Ticket,
    /// Labelled samples to train on; `None` while the replay buffer is empty.
    pub labelled: Option<LabelledBatch>,
    /// Number of labelled samples in the replay buffer.
    pub labels_known: u64,
    /// `[B, …]` f32: the source's samples, scaled, not augmented.
    pub unlabelled: Tensor,
    /// Recency weighting, in jobs that learn it and once there are labels.
    pub paced: Option<Paced>,
}

/// weak → teach.
#[derive(Debug)]
pub struct Views {
    /// Metadata of the step.
    pub ticket: Ticket,
    /// Labelled samples, augmented.
    pub labelled: Option<LabelledBatch>,
    /// Number of labelled samples in the replay buffer.
    pub labels_known: u64,
    /// `[B, …]` f32, not augmented.
    pub unlabelled: Tensor,
    /// Weak views, as many as the method asks for, each `[B, …]` f32.
    pub weak: Vec<Tensor>,
    /// Recency weighting, in jobs that learn it and once there are labels.
    pub paced: Option<Paced>,
}

/// The teacher's outputs for the samples of a step.
#[derive(Debug)]
pub struct Scores {
    /// Step number.
    pub step: u64,
    /// Probabilities `[B, C]` f32 of each weak view; rows sum to 1.
    pub unlabelled: Vec<Tensor>,
    /// `[B, …]` f32: the first weak view itself.
    pub input: Tensor,
    /// Scores of the labelled samples, where the method asks for them and there are any.
    pub labelled: Option<LabelledScores>,
    /// `[B, F]` features of the first weak view.
    pub features: Tensor,
    /// Ledger statistics of a fixed number of steps ago, where the method or the gate needs them;
    /// `None` in the first steps.
    pub standing: Option<Standing>,
}

/// The teacher's outputs for the labelled samples of a step.
#[derive(Debug)]
pub struct LabelledScores {
    /// `[L, C]` f32 probabilities; rows sum to 1.
    pub probabilities: Tensor,
    /// `[L, F]` features.
    pub features: Tensor,
    /// `[L, …]` f32: the views themselves.
    pub input: Tensor,
    /// `[L]` i64 class indices.
    pub classes: Tensor,
    /// `[L]` keys of the samples in the replay buffer; a sample keeps its key.
    pub keys: Vec<u64>,
}

/// teach → filter.
#[derive(Debug)]
pub struct Scored {
    /// Metadata of the step.
    pub ticket: Ticket,
    /// Labelled samples, augmented.
    pub labelled: Option<LabelledBatch>,
    /// Number of labelled samples in the replay buffer.
    pub labels_known: u64,
    /// `[B, …]` f32, not augmented.
    pub unlabelled: Tensor,
    /// The teacher's outputs.
    pub scores: Scores,
    /// Recency weighting, in jobs that learn it and once there are labels.
    pub paced: Option<Paced>,
    /// `[N, C]` f32: the network's probabilities for the freshly labelled samples in `paced`.
    pub fresh: Option<Tensor>,
    /// Number of student updates the teacher has seen.
    pub teacher_step: u64,
}

/// filter → strong.
#[derive(Debug)]
pub struct Judged {
    /// Metadata of the step.
    pub ticket: Ticket,
    /// Labelled samples, augmented.
    pub labelled: Option<LabelledBatch>,
    /// Number of labelled samples in the replay buffer.
    pub labels_known: u64,
    /// `[A, …]` f32, not augmented: the samples for the student (all of B in mask mode).
    pub selected: Tensor,
    /// `[A]` i64 positions in B; `None` in mask mode.
    pub index: Option<Tensor>,
    /// Pseudo-labels of all of B.
    pub judgement: Judgement,
    /// Filter statistics of the step.
    pub findings: Findings,
    /// Number of student updates the teacher has seen.
    pub teacher_step: u64,
}

/// strong → learn: a training batch.
#[derive(Debug)]
pub struct Lesson {
    /// Metadata of the step.
    pub ticket: Ticket,
    /// Labelled samples, augmented.
    pub labelled: Option<LabelledBatch>,
    /// Number of labelled samples in the replay buffer.
    pub labels_known: u64,
    /// Strong views, as many as the method asks for, each `[A, …]` f32.
    pub strong: Vec<Tensor>,
    /// `[A]` i64 positions in B; `None` in mask mode.
    pub index: Option<Tensor>,
    /// Pseudo-labels of all of B.
    pub judgement: Judgement,
    /// Filter statistics of the step.
    pub findings: Findings,
    /// Number of student updates the teacher has seen.
    pub teacher_step: u64,
}

/// learn → teach, along the feedback loop: the teacher's weights after a step. Immutable.
#[derive(Debug)]
pub struct Weights {
    /// Number of student updates in these weights.
    pub step: u64,
    /// `[parameters]` f32.
    pub parameters: Tensor,
    /// `[buffers]` f32: batch norm's running statistics.
    pub buffers: Tensor,
    /// Prior correction published with the weights. The teach stage ignores it, and the weights'
    /// checkpoint section omits it.
    pub answer: Option<Answer>,
}

impl Weights {
    /// Returns the same weights, sharing memory.
    pub fn share(&self) -> Weights {
        Weights {
            step: self.step,
            parameters: self.parameters.shallow_clone(),
            buffers: self.buffers.shallow_clone(),
            answer: self.answer.as_ref().map(Answer::share),
        }
    }
}

/// learn → report → tell → commit: the result of a step. Its tensors stay on the device until the
/// reporter copies those of many steps to the host at once (readback).
#[derive(Debug)]
pub struct Outcome {
    /// Metadata of the step.
    pub ticket: Ticket,
    /// `[4]` f32: labelled loss, unlabelled loss, gradient norm, and the number of accepted samples
    /// for whose first strong view the student predicts the pseudo-label's class.
    pub measures: Tensor,
    /// Whether the last of these is known: the method trains on unlabelled samples.
    pub compared: bool,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// `[C]` or `[1]` f32: the filter's confidence threshold, where the method has one.
    pub threshold: Option<Tensor>,
    /// Filter statistics; their prior correction has moved to the teacher's weights.
    pub findings: Findings,
    /// `[B]` i64: classes of the pseudo-labels.
    pub class: Tensor,
    /// `[B]` f32: probabilities of the pseudo-labels.
    pub confidence: Tensor,
    /// `[B]` bool: whether the sample passed the filter.
    pub accepted: Tensor,
    /// `[B]` bool: whether the ledger counts the sample as confident.
    pub confident: Tensor,
    /// Number of views in the student's forward and backward pass for the unlabelled loss.
    pub student_samples: u64,
    /// Number of samples in that pass for the labelled loss.
    pub labelled_samples: u64,
    /// Number of student updates the teacher has seen.
    pub teacher_step: u64,
    /// Number of labelled samples in the replay buffer.
    pub labels_known: u64,
    /// The teacher after this step, where it ends an epoch.
    pub teacher: Option<Weights>,
    /// Report of the epoch that the step ends, still without the ledger's fields.
    pub report: Option<Box<Report>>,
    /// Steps before which replay weights are to decay, because of drift alarms read back with this step.
    pub reweights: Vec<u64>,
}

/// The teacher's prediction for one streamed sample, as plain data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The sample's id.
    pub id: u64,
    /// The predicted class: the likeliest after prior correction.
    pub class: u32,
    /// Probability of the predicted class.
    pub confidence: f32,
    /// Class of the method's pseudo-label.
    pub pseudo_label: u32,
    /// The method's confidence in the pseudo-label.
    pub pseudo_label_confidence: f32,
    /// Whether the pseudo-label passed the filter.
    pub accepted: bool,
    /// Whether the ledger counts the sample as confident.
    pub confident: bool,
    /// Number of student updates the teacher has seen.
    pub teacher_step: u64,
}

/// report → ledger: the ledger's input for a step, in step order.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Step number.
    pub step: u64,
    /// Number of streamed samples before this step.
    pub position: u64,
    /// Wall time at which the source stage cut the step, in ms since 1970; 0 where nothing depends on it.
    pub cut_ms: u64,
    /// Late labels that take effect in this step, in order.
    pub labels: Vec<Label>,
    /// Predictions and pseudo-labels of the step.
    pub rows: Vec<Prediction>,
    /// Whether the message only carries a snapshot.
    pub barrier: bool,
    /// Whether the step ends an epoch.
    pub ends_epoch: bool,
    /// Whether the state after this step is to be saved.
    pub snapshot: bool,
}

macro_rules! edges {
    ($($edge:ty),*) => { $(impl Edge for $edge {
        fn ticket(&mut self) -> &mut Ticket {
            &mut self.ticket
        }
    })* };
}
edges!(Chunk, Batch, Views, Scored, Judged, Lesson, Outcome);
