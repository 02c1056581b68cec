//! `compare`: methods side by side at matched samples, matched compute and matched time.
//!
//! Every combination of the varied values runs with every seed, to the job's own end: matched
//! samples. Then all but the one with the most passes run again, longer, until they have made as
//! many: matched compute (see [`matching`]). Matched time is the quality that each had reached when
//! the fastest run ended. Finished runs are recorded; interrupted ones resume from their
//! checkpoints.

pub mod comparison;
pub mod folder;
pub mod matching;
pub mod outcome;
pub mod plan;
pub mod request;
pub mod row;
pub mod run;
pub mod runs;
mod statistics;
pub mod table;
pub mod variants;

pub use comparison::Comparison;
pub use plan::{Plan, plan};
pub use request::{Equal, Request};
