//! The stages of the dataflow, in order.

/// The timed stages in dataflow order: the columns of an epoch's report.
pub const STAGES: [&str; 8] = ["source", "batch", "weak", "teach", "filter", "strong", "learn", "report"];
