//! A step as plain data: what the source stage hands to the dataflow, the ledger's input, and the state that
//! a snapshot collects. No tensors.

use crate::sample::{Label, Labelled, Values};
use crate::sample_id::{IdName, SampleId};
use crate::state::Sections;
use crate::step_notes::StepNotes;
use serde::Serialize;

/// The resumable state of the whole dataflow after a step. It travels with the step: each stage
/// that owns state adds its section as the snapshot passes.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Number of completed steps; a restart begins with this step.
    pub step: u64,
    /// First record of the write-ahead log that a restart from here reads; `None` in jobs without one.
    pub log_position: Option<u64>,
    /// First record of the write-ahead log that was not written yet when the step was cut; `None` in jobs without one.
    pub log_end: Option<u64>,
    /// Whether the teacher is better on held-out samples than at every evaluation before.
    pub is_best: bool,
    /// Serialised state by owner.
    pub sections: Sections,
    /// What of the learned state is not finite, if anything: such a snapshot is not written.
    pub not_finite: Option<&'static str>,
    /// The teacher's tensors under PyTorch's names, as the bytes of `model.safetensors`.
    pub model: Vec<u8>,
}

/// Metadata of a step: what the stages read. Each stage hands it to the next.
#[derive(Debug, Default)]
pub struct StepInfo {
    /// Step number: Timely's timestamp.
    pub step: u64,
    /// `[B]` keys of the samples' ids.
    pub ids: Vec<u64>,
    /// Names of those whose id is not the key, by position in B.
    pub names: Vec<(usize, IdName)>,
    /// Late labels that take effect in this step, in order of arrival.
    pub labels: Vec<Label>,
    /// Labels that came with samples of this step. `batch` puts them before `labels`, but for those of samples that got
    /// a label by itself before they streamed by: that one counts.
    pub sample_labels: Vec<Label>,
    /// Positions in B of samples that already have a label: the filter judges them, but they have
    /// weight 0 in the unlabelled loss. Filled in by `batch`.
    pub labelled_already: Vec<i64>,
    /// Positions in B of samples with a value too large to compute with: zeros stand in for it, and it has weight 0 in
    /// the unlabelled loss. Filled in by `batch`.
    pub unfit: Vec<i64>,
    /// Whether samples with a label are known of at least two classes. Before that, pseudo-labels are those of a network
    /// that knows nothing: none is accepted, and no state of a judge moves. Filled in by `batch`.
    pub judged: bool,
    /// Whether the message only carries a snapshot: no samples, no update, not counted as a step.
    pub barrier: bool,
    /// Whether the step ends an epoch.
    pub ends_epoch: bool,
    /// Whether a phase of the job's scenario ends within the step or at its end.
    pub ends_phase: bool,
    /// Whether a drift alarm takes effect here: the replay weights of all earlier labelled samples decay.
    pub decay_replay: bool,
    /// Whether the workers compare their weights after this step: where its state is saved. Set for those beside the first.
    pub compared: bool,
    /// The snapshot being assembled, where the state after this step is to be saved.
    pub snapshot: Option<Box<Snapshot>>,
    /// Notes for reports and ledger; no stage computes with them.
    pub notes: StepNotes,
}

impl StepInfo {
    /// Returns whether the step has no sample, as a barrier and a step that is cut for labels or for a
    /// checkpoint only. Nothing is scored and nothing is trained: it changes what is known of labels, and no
    /// weight, optimiser, schedule or pseudo-labeller.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns what the workers beside the first need to know of the step.
    pub fn for_worker(&self) -> Self {
        Self {
            step: self.step,
            ids: self.ids.clone(),
            judged: self.judged,
            barrier: self.barrier,
            decay_replay: self.decay_replay,
            ends_phase: self.ends_phase,
            compared: self.compared || self.snapshot.is_some(),
            ..Self::default()
        }
    }

    /// Returns the id of the sample at position `at`, which must be there.
    pub fn id(&self, at: usize) -> SampleId {
        let place = self.names.binary_search_by_key(&at, |(at, _)| *at);
        SampleId { key: self.ids[at], name: place.ok().map(|place| self.names[place].1.clone()) }
    }
}

/// A message on an edge of the dataflow: the metadata of a step and what the edge adds to it.
pub trait Message: 'static {
    /// Returns the step's metadata.
    fn info(&mut self) -> &mut StepInfo;
}

/// source → batch: a micro-batch of plain data, so that it could cross workers.
#[derive(Debug)]
pub struct MicroBatch {
    /// Metadata of the step.
    pub info: StepInfo,
    /// Labelled samples that are new in this step.
    pub labelled: Option<Labelled>,
    /// `[B, …]` values of the unlabelled samples.
    pub values: Values,
}

/// The teacher's prediction for one streamed sample, as plain data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The sample's id.
    pub id: SampleId,
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
    /// Whether the job's two networks predict the same class; `None` where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks_agree: Option<bool>,
    /// Number of student updates the teacher has seen.
    pub teacher_step: u64,
}

/// report → ledger: the ledger's input for a step, in step order.
#[derive(Debug, Clone, Default)]
pub struct LedgerInput {
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

impl Message for MicroBatch {
    fn info(&mut self) -> &mut StepInfo {
        &mut self.info
    }
}
