//! Adds up step results and makes the reports of epochs and the summary of the job.

mod best;
pub mod busy;
mod class_alarm;
mod counts;
mod epoch;
mod evaluator;
mod filter_alarm;
mod future;
mod gate_mark;
mod names;
mod network;
mod phases;
mod plan;
mod publish;
pub mod readback;
mod recent;
mod recovery;
mod remedy;
mod reported;
mod reporter;
mod skipped;
mod state;
mod summary;
mod tables;

pub use counts::Counts;
pub use evaluator::Evaluator;
pub use plan::{FETCH_STEPS, FetchSchedule, Outputs, ReportPlan};
pub use remedy::Remedy;
pub use reported::Reported;
pub use reporter::Reporter;
pub use skipped::MOST_IN_A_ROW;
pub use state::State;
pub use summary::Summary;
