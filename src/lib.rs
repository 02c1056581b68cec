//! Sluicebox: continual semi-supervised learning over an unbounded stream.
//!
//! ```text
//!             labelled ────────────────────────────────────────┐
//! source ─► batch ─► weak ─► teach ─► filter ─► strong ─► learn ─► report ─► commit
//!   ▲                          └── weights, feedback(lag) ──┘                  │
//!   └────────────────── credit and alarms, feedback(window) ───────────────────┘
//! ```
//!
//! The floors, from the ground up. Each package uses only those below it.
//!
//! - `sluicebox-core`: samples, steps, reports, settings and errors, as plain data
//! - `sluicebox-stream`: sources, decoders, the write-ahead log, the ingest gate, micro-batches and
//!   prediction sinks
//! - `sluicebox-learn`: views, models, methods, replay, adaptation, optimisers and the stages that
//!   compute
//! - `sluicebox-observe`: console, logging, job status, history, plots and report sinks
//! - `sluicebox-client`: feed, label, sample, watch and plot, without libtorch
//! - this package: [`engine`] the dataflow, metrics, drift detection and checkpoints; [`serve`] HTTP
//!   and predictions; [`job`] the typed job; [`run`] from a job to a running dataflow and its
//!   summary; [`compare`] several jobs beside each other

pub mod cluster;
pub mod compare;
pub mod engine;
pub mod job;
pub mod run;
pub mod serve;

pub use job::Job;
pub use sluicebox_core::error::{Error, Result};
