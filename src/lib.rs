//! Sluicebox: continual semi-supervised learning over an unbounded stream.
//!
//! ```text
//!             labelled ────────────────────────────────────────┐
//! source ─► batch ─► weak ─► teach ─► filter ─► strong ─► learn ─► report ─► commit
//!   ▲                          └── weights, feedback(lag) ──┘                  │
//!   └────────────────── credit and alarms, feedback(window) ───────────────────┘
//! ```
//!
//! - [`job`] what is to be done, read through [`document`] and [`registry`]
//! - [`run`] from a job to a running dataflow and its summary; [`compare`] several jobs beside each
//!   other
//! - [`flow`] how steps move; the only user of timely and differential-dataflow
//! - [`samples`] plain samples, and [`data`] what each edge carries
//! - [`decode`] from bytes to samples
//! - [`source`] where samples come from; [`intake`] the gate from outside, [`access`] who may
//!   come in, [`live`] all that listens, [`brokers`] how Kafka is reached
//! - [`augmentation`] what a view is
//! - [`model`] what is learned
//! - [`method`] what it is learned from
//! - [`student`] what a step is
//! - [`server`] HTTP: samples and labels in, predictions out by the [`predictor`]; [`label`] and
//!   [`watch`], the terminal view, ask it by the [`client`]
//! - [`ledger`] what is known of judgements and labels
//! - [`report`] the one model of what is known of an epoch; [`outcomes`], [`metrics`], [`evaluate`]
//!   how it is folded; [`gallery`] samples to look at
//! - [`observers`] who looks on: [`console`], [`sink`], [`history`], the [`board`]; [`controls`] what
//!   they may ask for; [`logs`] the lines they hear; [`plot`] the history as a report or a chart
//! - [`checkpoint`] what is kept of it, [`log`] what is kept until then
//! - [`device`], [`randomness`], [`error`] what all of them stand on

pub mod access;
pub mod augmentation;
pub mod board;
pub mod brokers;
pub mod checkpoint;
pub mod client;
pub mod compare;
pub mod console;
pub mod controls;
pub mod data;
pub mod decode;
pub mod device;
pub mod document;
pub mod error;
pub mod evaluate;
pub mod feeder;
pub mod flow;
pub mod gallery;
pub mod history;
pub mod intake;
pub mod job;
pub mod label;
pub mod ledger;
pub mod live;
pub mod log;
pub mod logs;
pub mod machine;
pub mod method;
pub mod metrics;
pub mod model;
pub mod observers;
pub mod outcomes;
pub mod plot;
pub mod predictor;
pub mod randomness;
pub mod registry;
pub mod report;
pub mod run;
pub mod samples;
pub mod server;
pub mod sink;
pub mod source;
pub mod student;
pub mod watch;
pub mod wire;

pub use error::{Error, Result};
pub use job::Job;

/// libtorch takes memory anew for every result; with glibc's allocator a quarter of a small
/// step goes there. Linked with `override`, this one serves libtorch's C++ as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
