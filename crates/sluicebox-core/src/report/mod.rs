//! The model of an epoch's report: every number with its name, unit, direction and meaning. All outputs
//! (table, terminal, page, Prometheus, TensorBoard, plots, history) render only this. `metrics` computes it
//! from steps.
//!
//! - `meter`: description of a number, with its `label`; `meters`: all numbers; `sets`: the table of all sets of numbers
//! - `epoch`: the report, with `named` rows, `confusion` matrices and statistics of the `ledger`
//! - `about`, `line`, `mark`, `progress`, `thumbnail`: what else a viewer shows of a job
//! - `pipeline`: the stages of the dataflow; `format`: number formats

#[macro_use]
mod meter;
mod about;
mod confusion;
mod epoch;
pub mod format;
mod label;
pub mod ledger;
mod line;
mod mark;
mod meters;
mod named;
pub mod pipeline;
pub mod progress;
pub mod sets;
pub mod thumbnail;

pub use about::About;
pub use confusion::{Cell, CellCounts, Confusion};
pub use epoch::Report;
pub use format::grouped;
pub use line::Line;
pub use mark::{Mark, MarkKind};
pub use meter::{Better, Group, Kind, Meter, Meters, Unit};
pub use meters::{
    ClassMeters, JobMeters, OperatorMeters, PhaseMeters, ReasonMeters, SourceMeters, WorkerMeters,
};
pub use named::{Named, distinct};
pub use progress::Progress;
pub use sets::{Row, SETS, Set};
