//! How steps move and what is kept of them: the dataflow, metrics, drift detection and checkpoints.

pub mod checkpoint;
pub mod drift;
pub mod flow;
pub mod metrics;
