//! The history of a job; it outlives the job's process.
//!
//! It is one SQLite file, `history.db` in the state folder. One file is easy to copy, stays intact if the job
//! is killed, can be read while it is written, and is open to queries:
//!
//! ```sh
//! sqlite3 state/history.db 'select epoch, accuracy from epochs where level = 0'
//! ```
//!
//! Level 0 of `epochs` has one row per epoch and one column per meter. A row of level k folds 8^k epochs: the
//! mean, minimum (`low_`) and maximum (`high_`) of a gauge, the last value of a total. Each level keeps only
//! its newest rows, so the file stays bounded and a plot of a million epochs reads some hundred rows.
//! Classes, operators and confusions are JSON in `details`, the job is in `about`, its log in `lines`, and what
//! happened to it (alarms, closed gates, restarts, checkpoints) in `marks`: the newest 2,000 of each kind.
//!
//! - `file`: where it is; `schema`: tables and row ids; `error`: what can be wrong with it
//! - `point`, `details`: what a row of `epochs` and of `details` holds
//! - `writer` writes a history, each batch of events in one `transaction`
//! - `reader` reads it, by the `queries` of an open file

mod details;
mod error;
mod file;
mod point;
mod queries;
mod reader;
mod schema;
pub mod settings;
mod transaction;
mod writer;

pub use file::{clear, is_in};
pub use point::Point;
pub use reader::History;
pub use writer::HistoryWriter;
