//! Confusion matrices.

use serde::{Deserialize, Serialize};

/// A cell of a confusion matrix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// True class.
    pub truth: u32,
    /// Class of the pseudo-label, or the predicted class (`held-out`).
    pub given: u32,
    /// Number of samples.
    pub samples: u64,
    /// Number of samples that were accepted.
    pub accepted: u64,
}

/// Number of samples in a cell of a confusion matrix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellCounts {
    /// Number of samples.
    pub samples: u64,
    /// Number of samples that were accepted.
    pub accepted: u64,
}

/// A confusion matrix without its empty cells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// Origin of the true class: `stream` (known to the source; this epoch), `labels` (late labels; samples
    /// in the ledger) or `held-out` (the last evaluation).
    pub of: String,
    /// The fullest cells, sorted by truth and given class.
    pub cells: Vec<Cell>,
}
