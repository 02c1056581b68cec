//! Rows of the ledger's collections and its saved state.

use serde::{Deserialize, Serialize};
use sluicebox_core::report::ledger::{LabelCounts, LedgerStats};
use sluicebox_core::step::Prediction;

/// Arrival of a sample or a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Samples of the stream before it.
    pub position: u64,
    /// Wall time in ms since 1970; 0 where nothing depends on it.
    pub cut_ms: u64,
}

/// Pseudo-label of a sample.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PseudoLabelRow {
    /// When the sample streamed by.
    pub stamp: Stamp,
    /// Class of the pseudo-label.
    pub class: u32,
    /// In units of 1/65535: differential collections cannot hold floats.
    pub confidence: u16,
    /// Whether the pseudo-label passed the filter.
    pub accepted: bool,
    /// Whether the ledger counts the sample as confident.
    pub confident: bool,
}

impl PseudoLabelRow {
    /// Returns the pseudo-label of a sample that streamed by at `stamp`.
    pub fn new(row: &Prediction, stamp: Stamp) -> Self {
        let confidence = (row.pseudo_label_confidence * f32::from(u16::MAX)).round() as u16;
        let Prediction { pseudo_label: class, accepted, confident, .. } = *row;
        Self { stamp, class, confidence, accepted, confident }
    }
}

/// Label of a sample.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LabelRow {
    /// When the label took effect.
    pub stamp: Stamp,
    /// Class of the label.
    pub class: u32,
}

/// Countable elements of the collections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tally {
    /// A sample with a pseudo-label.
    PseudoLabel {
        /// Class of the pseudo-label.
        class: u32,
        /// Whether the pseudo-label passed the filter.
        accepted: bool,
        /// Whether the ledger counts the sample as confident.
        confident: bool,
    },
    /// A label.
    Label {
        /// Class of the label.
        class: u32,
    },
    /// A sample with both a pseudo-label and a label.
    Both {
        /// The sample's id.
        id: u64,
        /// Its pseudo-label.
        pseudo_label: PseudoLabelRow,
        /// Its label.
        label: LabelRow,
    },
}

/// The ledger's section of a snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Pseudo-labels in the retention window, by sample id.
    pub pseudo_labels: Vec<(u64, PseudoLabelRow)>,
    /// Labels in the retention window, by sample id.
    pub labels: Vec<(u64, LabelRow)>,
    /// Label counts by fate.
    pub counts: LabelCounts,
    /// Statistics of the last `lag` steps: those on the feedback edge.
    pub ledger_stats: Vec<LedgerStats>,
}

/// End of a step in the ledger: what its collections do not hold. One per step.
#[derive(Debug, Clone, Copy)]
pub struct StepEnd {
    /// Step number.
    pub step: u64,
    /// Whether the message only carries a snapshot.
    pub barrier: bool,
    /// Whether the step ends an epoch.
    pub ends_epoch: bool,
    /// Whether the state after this step is to be saved.
    pub snapshot: bool,
    /// Label counts by fate after the step.
    pub counts: LabelCounts,
}
