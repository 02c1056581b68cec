//! Results of a variant: a row of the table.

use crate::compare::statistics::Statistics;
use serde::Serialize;

/// Results of a variant.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The variant's name.
    pub variant: String,
    /// One value per varied key.
    pub values: Vec<String>,
    /// Quality at the job's own end.
    pub quality_at_samples: Option<Statistics>,
    /// Quality at the job's own end by the comparison's measure `beside`.
    pub beside_at_samples: Option<Statistics>,
    /// Passes up to the job's own end.
    pub passes: Option<Statistics>,
    /// Quality at equal passes.
    pub quality_at_passes: Option<Statistics>,
    /// Passes made at that point: they may miss the target, since the accepted fraction changes as
    /// a job goes on.
    pub passes_made: Option<Statistics>,
    /// Quality at equal seconds.
    pub quality_at_seconds: Option<Statistics>,
    /// Precision of pseudo-labels at the job's own end.
    pub pseudo_label_precision: Option<Statistics>,
    /// Seconds to the job's own end.
    pub seconds: Option<Statistics>,
    /// Samples per second up to the job's own end.
    pub samples_per_s: Option<Statistics>,
}

impl Row {
    /// Returns the values, in the order of the table's columns.
    pub fn spreads(&self) -> [Option<Statistics>; 9] {
        [
            self.quality_at_samples,
            self.beside_at_samples,
            self.passes,
            self.quality_at_passes,
            self.passes_made,
            self.quality_at_seconds,
            self.pseudo_label_precision,
            self.seconds,
            self.samples_per_s,
        ]
    }
}
