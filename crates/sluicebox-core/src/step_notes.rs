//! Notes on a step, for reports and the ledger: the source stage fills them, later stages add to them, the
//! report stage reads them.

use crate::report::pipeline::StageSeconds;
use crate::report::thumbnail::Candidate;
use crate::sample::{Truth, Values};

/// Notes on a step. No stage computes with them.
#[derive(Debug, Default)]
pub struct StepNotes {
    /// `[B]` true classes, where the source knows them.
    pub truth: Truth,
    /// Number of streamed samples before this step.
    pub position: u64,
    /// Samples that each of the job's sources contributed to the step.
    pub taken: Vec<u32>,
    /// Wall time at which the source stage cut the step, in ms since 1970; 0 where nothing depends on it.
    pub cut_ms: u64,
    /// Near-future test: work due in this step.
    pub near_future: NearFutureTest,
    /// Delays of the step at the source.
    pub waits: Waits,
    /// Dead letters of each of the job's sources so far.
    pub dead_letters: Vec<u64>,
    /// Records that wait where each of the job's sources reads them, if it knows.
    pub lags: Vec<Option<u64>>,
    /// Dead letters and refused requests so far, counted by reason; filled only where the step ends an epoch.
    pub reasons: Vec<(String, u64)>,
    /// Samples that may be shown as thumbnails.
    pub candidates: Vec<Candidate>,
    /// Number of labelled samples in the replay buffer. Filled in by `batch`.
    pub labels_known: u64,
    /// Number of samples, labelled ones included, that are not learned from since a value is too large to compute with.
    /// Filled in by `batch`.
    pub unfit: u64,
    /// Seconds that the step spent in each stage.
    pub stage_s: StageSeconds,
}

/// Near-future test: a teacher is tested on samples that the stream delivers later.
#[derive(Debug, Default)]
pub struct NearFutureTest {
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
    pub in_flight: u64,
    /// Fraction of the write-ahead log's capacity in use; `None` in jobs without one.
    pub log_fill: Option<f64>,
    /// Samples ingested so far; `None` in jobs without a write-ahead log.
    pub arrived: Option<u64>,
}
