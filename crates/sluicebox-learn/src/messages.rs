//! Messages on the edges of the dataflow, in dataflow order, with shapes.
//!
//! L: labelled samples of a step. B: unlabelled samples of a step. A: those of B for which a strong
//! view is made. C: classes. F: features. `…` is the sample's own shape: `[channels, height,
//! width]` or `[features]`.

use crate::adapt::correction::PriorCorrection;
use crate::adapt::state::Adapting;
use crate::pseudo_labels::{FilterStats, JudgedLabels, PseudoLabels};
use crate::standardise::Scale;
use sluicebox_core::report::ledger::LedgerStats;
use sluicebox_core::step::{Message, StepInfo};
use tch::Tensor;

/// Labelled samples of a step, on the device.
#[derive(Debug)]
pub struct LabelledBatch {
    /// `[L, …]` f32: the model's input.
    pub input: Tensor,
    /// `[L]` i64 class indices.
    pub classes: Tensor,
    /// `[L]` keys of the samples in the replay buffer; a sample keeps its key.
    pub keys: Vec<u64>,
    /// `[C]` f32: weights of the classes in the loss; `None`: all alike.
    pub class_weights: Option<Tensor>,
    /// Further views of the samples, as many as the method asks for, `[L, …]` f32 each. Filled in by `weak`.
    pub further: Vec<Tensor>,
    /// What is learned in place of the classes, where somebody judged them. Filled in by `filter`.
    pub judged: Option<JudgedLabels>,
}

/// Labelled samples of a step's updates besides the one that all of its samples take part in.
#[derive(Debug)]
pub struct FurtherUpdates {
    /// The samples of all of these updates, one after the other, as many for each as [`LabelledBatch`] has.
    pub labelled: LabelledBatch,
    /// Number of samples of an update, L.
    pub each: usize,
    /// Number of updates that come first, as a warm-up.
    pub warm_up: usize,
}

impl FurtherUpdates {
    /// Returns the samples of each update of the warm-up, and of each further one.
    pub fn parts(&self) -> (Vec<LabelledBatch>, Vec<LabelledBatch>) {
        let split = |tensor: &Tensor| tensor.split(self.each as i64, 0).into_iter();
        let samples = split(&self.labelled.input).zip(split(&self.labelled.classes));
        let parts = samples.zip(self.labelled.keys.chunks(self.each));
        let mut parts = parts.map(|((input, classes), keys)| LabelledBatch {
            input,
            classes,
            keys: keys.to_vec(),
            class_weights: self.labelled.class_weights.as_ref().map(Tensor::shallow_clone),
            further: Vec::new(),
            judged: None,
        });
        (parts.by_ref().take(self.warm_up).collect(), parts.collect())
    }
}

/// How much of a step one of several workers has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Number of workers.
    pub workers: usize,
    /// Labelled samples of an update, of all workers.
    pub labelled: u64,
    /// Selected samples, of all workers.
    pub selected: u64,
}

/// batch → weak: from here on everything is on the device.
#[derive(Debug)]
pub struct Batch {
    /// Metadata of the step.
    pub info: StepInfo,
    /// Labelled samples to train on, augmented from `weak` on; `None` while the replay buffer is empty.
    pub labelled: Option<LabelledBatch>,
    /// Labelled samples of further updates in the step, if there are any; augmented as `labelled`.
    pub further: Option<FurtherUpdates>,
    /// `[B, …]` f32: the source's samples, scaled and standardised, not augmented.
    pub unlabelled: Tensor,
    /// Mean and deviation by which the step's samples are standardised, in jobs that do so.
    pub scale: Option<Scale>,
    /// What the experts will say of the step, in jobs that have experts.
    pub adapt: Option<Adapting>,
}

/// weak → teach.
#[derive(Debug)]
pub struct Views {
    /// The batch.
    pub batch: Batch,
    /// Weak views, as many as the method asks for, each `[B, …]` f32.
    pub weak: Vec<Tensor>,
}

/// The teacher's outputs for the samples of a step.
#[derive(Debug)]
pub struct Scores {
    /// Step number.
    pub step: u64,
    /// Probabilities `[B, C]` f32 of each weak view; rows sum to 1.
    pub unlabelled: Vec<Tensor>,
    /// `[B, …]` f32: the first weak view itself, where the method asks for it; else empty.
    pub input: Tensor,
    /// Scores of the labelled samples, where the method asks for them and there are any.
    pub labelled: Option<LabelledScores>,
    /// `[B, F]` features of the first weak view.
    pub features: Tensor,
    /// Outputs of the method's heads for the first weak view: `[B, outputs]` f32 each.
    pub heads: Vec<Tensor>,
    /// Whether a drift alarm takes effect in this step: what was learned of the stream before may not hold any more.
    pub alarm: bool,
    /// Ledger statistics of a fixed number of steps ago, where the method or the gate needs them;
    /// `None` in the first steps.
    pub ledger_stats: Option<LedgerStats>,
}

/// The teacher's outputs for the labelled samples of a step.
#[derive(Debug)]
pub struct LabelledScores {
    /// `[L, C]` f32 probabilities; rows sum to 1.
    pub probabilities: Tensor,
    /// `[L, F]` features.
    pub features: Tensor,
    /// Outputs of the method's heads: `[L, outputs]` f32 each.
    pub heads: Vec<Tensor>,
    /// `[L, …]` f32: the views themselves.
    pub input: Tensor,
    /// `[L]` i64 class indices.
    pub classes: Tensor,
    /// `[L]` keys of the samples in the replay buffer; a sample keeps its key.
    pub keys: Vec<u64>,
    /// Scores of the samples' further views, in their order.
    pub further: Vec<ViewScores>,
}

/// The teacher's outputs for a view of N samples.
#[derive(Debug)]
pub struct ViewScores {
    /// `[N, C]` f32 probabilities; rows sum to 1.
    pub probabilities: Tensor,
    /// `[N, F]` features.
    pub features: Tensor,
}

/// teach → filter.
#[derive(Debug)]
pub struct Scored {
    /// The batch.
    pub batch: Batch,
    /// The teacher's outputs.
    pub scores: Scores,
    /// `[N, C]` f32: the network's probabilities for the freshly labelled samples in the batch's `adapt`.
    pub fresh: Option<Tensor>,
    /// `[1, C]` f32: those for a blank sample, in jobs whose answers are corrected by it.
    pub blank: Option<Tensor>,
    /// Number of student updates the teacher has seen.
    pub teacher_step: u64,
}

/// filter → strong.
#[derive(Debug)]
pub struct Selected {
    /// `[A, …]` f32, not augmented: the samples for the student (all of B in mask mode).
    pub samples: Tensor,
    /// The training batch, still without strong views.
    pub training_batch: TrainingBatch,
}

/// strong → learn.
#[derive(Debug)]
pub struct TrainingBatch {
    /// Metadata of the step.
    pub info: StepInfo,
    /// Labelled samples, augmented.
    pub labelled: Option<LabelledBatch>,
    /// Labelled samples of further updates, augmented.
    pub further: Option<FurtherUpdates>,
    /// Strong views, as many as the method asks for, each `[A, …]` f32. Filled in by `strong`.
    pub strong: Vec<Tensor>,
    /// `[A]` i64 positions in B; `None` in mask mode.
    pub index: Option<Tensor>,
    /// Pseudo-labels of all of B.
    pub pseudo_labels: PseudoLabels,
    /// Filter statistics of the step.
    pub filter_stats: FilterStats,
    /// Prior correction; `None` where the network's probabilities are used unchanged.
    pub correction: Option<PriorCorrection>,
    /// Mean and deviation by which the step's samples are standardised, in jobs that do so.
    pub scale: Option<Scale>,
    /// Number of student updates the teacher has seen.
    pub teacher_step: u64,
    /// Of a job with several workers, how much of the step this one has: its part of the labelled samples, and those of the
    /// selected ones that `index` names. The pseudo-labels are of all of B.
    pub share: Option<Share>,
}

/// learn → teach, along the feedback edge: the teacher's weights after a step. Immutable.
#[derive(Debug)]
pub struct Weights {
    /// Number of student updates in these weights.
    pub step: u64,
    /// `[parameters]` f32.
    pub parameters: Tensor,
    /// `[buffers]` f32: batch norm's running statistics.
    pub buffers: Tensor,
}

impl Weights {
    /// Returns the same weights, sharing memory.
    pub fn share(&self) -> Self {
        let (parameters, buffers) = (self.parameters.shallow_clone(), self.buffers.shallow_clone());
        Self { step: self.step, parameters, buffers }
    }
}

/// A teacher as predictions and evaluations use it: its weights, the scale of its input and the prior correction of
/// its probabilities. Immutable.
#[derive(Debug)]
pub struct CorrectedTeacher {
    /// The teacher's weights.
    pub weights: Weights,
    /// Prior correction; `None` where the network's probabilities are used unchanged.
    pub correction: Option<PriorCorrection>,
    /// Mean and deviation by which samples are standardised for it; `None` where it takes them as they are.
    pub scale: Option<Scale>,
}

impl CorrectedTeacher {
    /// Returns the same teacher, sharing memory.
    pub fn share(&self) -> Self {
        let correction = self.correction.clone();
        Self { weights: self.weights.share(), correction, scale: self.scale.as_ref().map(Scale::share) }
    }
}

/// What came of a step's updates. NaN: one was skipped, as its loss or its gradient was not finite.
pub mod outcome {
    /// The weights changed.
    pub const UPDATED: f32 = 0.0;
    /// There was nothing to learn from.
    pub const NOTHING: f32 = 1.0;
    /// The batch was too small for the network to be trained on.
    pub const TOO_SMALL: f32 = 2.0;
}

/// learn → report: the result of a step. Its tensors stay on the device until the reporter copies those of
/// many steps to the host at once (readback).
#[derive(Debug)]
pub struct StepResult {
    /// Metadata of the step.
    pub info: StepInfo,
    /// `[5]` f32: labelled loss, unlabelled loss, gradient norm, the number of accepted samples
    /// for whose first strong view the student predicts the pseudo-label's class, and the [`outcome`].
    pub measures: Tensor,
    /// Whether the fourth of these is known: the method trains on unlabelled samples.
    pub compared: bool,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// `[C]` or `[1]` f32: the filter's confidence threshold, where the method has one.
    pub threshold: Option<Tensor>,
    /// Filter statistics.
    pub filter_stats: FilterStats,
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
    /// The teacher after this step, where it ends an epoch or a phase.
    pub teacher: Option<CorrectedTeacher>,
    /// Mean and deviation by which the step's samples were standardised, in jobs that do so.
    pub scale: Option<Scale>,
}

macro_rules! messages {
    ($($message:ty: $($info:ident).+;)*) => { $(impl Message for $message {
        fn info(&mut self) -> &mut StepInfo {
            &mut self.$($info).+
        }
    })* };
}
messages! {
    Batch: info;
    Views: batch.info;
    Scored: batch.info;
    Selected: training_batch.info;
    TrainingBatch: info;
    StepResult: info;
}
