//! Report sinks: observers that a job names. One file a sink; `sluicebox::job::sinks` is their table.

pub mod jsonl;
pub mod mlflow;
pub mod tensorboard;
pub mod webhook;
