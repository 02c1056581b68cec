//! What each edge of the dataflow carries, in the order of the dataflow, with shapes.
//!
//! L: labelled samples of a step. B: unlabelled samples of a step. A: those of B whose
//! strong view is made. C: classes. `…` is the sample's own shape: `[channels, height,
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

/// The stages whose time is told, in order: the columns of an epoch's report.
pub const STAGES: [&str; 8] = ["source", "batch", "weak", "teach", "filter", "strong", "learn", "report"];

/// The resumable state of the whole dataflow after a step. It rides the stream: each stage
/// that owns state adds its section as the snapshot passes.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Steps done when it was taken: a restart begins with this step.
    pub step: u64,
    /// The first record of the log that a restart from here reads, in jobs with a log.
    pub log_position: Option<u64>,
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
    /// Samples of the stream before this step.
    pub position: u64,
    /// How many of the step's samples each of the job's sources gave.
    pub taken: Vec<u32>,
    /// Late labels that take effect in this step, in the order in which they came.
    pub labels: Vec<Label>,
    /// Positions in B of samples that have a label already: they are judged, but teach nothing
    /// more. Known from `batch` on.
    pub labelled_already: Vec<i64>,
    /// Wall time at which the step was cut, in ms since 1970; 0 where nothing depends on it.
    pub cut_ms: u64,
    /// The step ends an epoch.
    pub ends_epoch: bool,
    /// Nothing but a snapshot passes: no sample, no update, no step.
    pub barrier: bool,
    /// The stream was found to have drifted: labelled samples of until now count less from here on.
    pub reweights: bool,
    /// What is tested some samples ahead.
    pub ahead: Ahead,
    /// How the step had to wait before it left the source.
    pub waits: Waits,
    /// Records of each of the job's sources that could not be read so far.
    pub dead_letters: Vec<u64>,
    /// Where the step ends an epoch: for what reasons they, and requests, were refused.
    pub reasons: Vec<(String, u64)>,
    /// Samples to look at.
    pub picks: Vec<Pick>,
    /// Seconds spent in each of [`STAGES`].
    pub stage_s: [f64; STAGES.len()],
    /// Present where the state after this step is wanted.
    pub snapshot: Option<Box<Snapshot>>,
}

/// Tests of a teacher on what the stream gives later.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Where the step ends an epoch: after how many samples labels in a row are of no help.
    pub shift: Option<u64>,
    /// The teacher after this step is to be kept for a test.
    pub keep: bool,
    /// The test of the teacher that was kept last.
    pub probe: Option<Box<Probe>>,
}

/// Samples of the step that a teacher kept earlier is tested on.
#[derive(Debug)]
pub struct Probe {
    /// Steps the teacher had seen.
    pub of_step: u64,
    /// `[B, …]`.
    pub values: Values,
    /// `[B]`.
    pub truth: Truth,
}

/// What held a step back at the source, and how full things were when it left.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waits {
    /// Seconds the stream had no sample to give while the step was gathered.
    pub starved_s: f64,
    /// Seconds the window was full.
    pub credit_s: f64,
    /// Seconds the job was paused.
    pub paused_s: f64,
    /// Steps under way, this one among them.
    pub under_way: u64,
    /// Part of the log that is in use, in jobs with a log.
    pub log_fill: Option<f64>,
    /// Samples that came in from outside so far, in jobs with a log.
    pub arrived: Option<u64>,
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
    /// `[L]`: which labelled samples of the memory these are; a sample keeps its key.
    pub keys: Vec<u64>,
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
    /// Where the job learns the stream's pace and there are labels.
    pub paced: Option<Paced>,
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
    /// Where the job learns the stream's pace and there are labels.
    pub paced: Option<Paced>,
}

/// What the teacher says of the samples of a step.
#[derive(Debug)]
pub struct Scores {
    /// The step.
    pub step: u64,
    /// One for each weak view: `[B, C]` f32, rows sum to 1.
    pub unlabelled: Vec<Tensor>,
    /// `[B, …]` f32: the first weak view itself.
    pub input: Tensor,
    /// Of the labelled samples, where the method asks for it and there are some.
    pub labelled: Option<LabelledScores>,
    /// `[B, F]` f32 of the first weak view.
    pub features: Tensor,
    /// How things stood in the ledger some steps ago, where the method asks for it. None in
    /// the first steps.
    pub standing: Option<Standing>,
}

/// What the teacher says of the labelled samples of a step.
#[derive(Debug)]
pub struct LabelledScores {
    /// `[L, C]` f32, rows sum to 1.
    pub probabilities: Tensor,
    /// `[L, F]` f32.
    pub features: Tensor,
    /// `[L, …]` f32: the views themselves.
    pub input: Tensor,
    /// `[L]` i64.
    pub classes: Tensor,
    /// `[L]`: which labelled samples these are; a sample keeps its key.
    pub keys: Vec<u64>,
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
    /// Where the job learns the stream's pace and there are labels.
    pub paced: Option<Paced>,
    /// `[N, C]` f32: what the teacher said of the fresh samples of that.
    pub fresh: Option<Tensor>,
    /// Student updates that the teacher had seen.
    pub teacher_step: u64,
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
    /// `[A, …]` f32, not augmented: what the student is to see (all of B in mask mode).
    pub selected: Tensor,
    /// `[A]` i64 positions in B; none in mask mode.
    pub index: Option<Tensor>,
    /// The judgement of all of B.
    pub judgement: Judgement,
    /// What else the filter found.
    pub findings: Findings,
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
    /// What else the filter found.
    pub findings: Findings,
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
    /// How answers come from what the network says; on the loop and in the checkpoint: none.
    pub answer: Option<Answer>,
}

impl Weights {
    /// The same weights, sharing memory.
    pub fn share(&self) -> Weights {
        Weights {
            step: self.step,
            parameters: self.parameters.shallow_clone(),
            buffers: self.buffers.shallow_clone(),
            answer: self.answer.as_ref().map(Answer::share),
        }
    }
}

/// learn → report → tell → commit: what a step did. Tensors stay on the device until the reporter
/// brings many steps over at once.
#[derive(Debug)]
pub struct Outcome {
    /// The step.
    pub ticket: Ticket,
    /// `[4]` f32: labelled loss, unlabelled loss, norm of the gradient, and accepted samples whose
    /// strong view the student gave the class of the pseudo-label.
    pub measures: Tensor,
    /// The last of these is known.
    pub compared: bool,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// `[C]` or `[1]` f32: the filter's threshold, where the method has one.
    pub threshold: Option<Tensor>,
    /// What else the filter found; the answer went to the teacher's version.
    pub findings: Findings,
    /// `[B]` i64: classes of the pseudo-labels.
    pub class: Tensor,
    /// `[B]` f32: their probabilities.
    pub confidence: Tensor,
    /// `[B]` bool: what passed the filter.
    pub accepted: Tensor,
    /// `[B]` bool: what the ledger is to count as confident.
    pub confident: Tensor,
    /// Samples that went through the student's forward and backward pass for the unlabelled
    /// loss.
    pub student_samples: u64,
    /// The same for the labelled loss.
    pub labelled_samples: u64,
    /// Student updates that the teacher had seen.
    pub teacher_step: u64,
    /// Labelled samples in memory.
    pub labels_known: u64,
    /// The teacher after this step, where it ends an epoch.
    pub teacher: Option<Weights>,
    /// The report of the epoch that it ends, before the ledger's part is in it.
    pub report: Option<Box<Report>>,
    /// Steps before which labelled samples are to be weighted anew, found with this step.
    pub reweights: Vec<u64>,
}

/// What the teacher made of one streamed sample, as plain data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The sample's id.
    pub id: u64,
    /// The class that is answered: the likeliest.
    pub class: u32,
    /// Its probability.
    pub confidence: f32,
    /// The class that the method judged it to be.
    pub pseudo_label: u32,
    /// The method's confidence in that.
    pub pseudo_label_confidence: f32,
    /// The pseudo-label passed the filter.
    pub accepted: bool,
    /// The ledger counts it as confident.
    pub confident: bool,
    /// Student updates that the teacher had seen.
    pub teacher_step: u64,
}

/// report → ledger: what the ledger is told of a step, in the steps' order.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The step.
    pub step: u64,
    /// Samples of the stream before this step.
    pub position: u64,
    /// Wall time at which the step was cut, in ms since 1970; 0 where nothing depends on it.
    pub cut_ms: u64,
    /// Late labels that take effect in this step, in order.
    pub labels: Vec<Label>,
    /// The step's judgements.
    pub rows: Vec<Prediction>,
    /// Nothing but a snapshot passes.
    pub barrier: bool,
    /// The step ends an epoch.
    pub ends_epoch: bool,
    /// The state after this step is wanted.
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
