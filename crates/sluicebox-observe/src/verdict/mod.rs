//! Verdicts: what a report says in words, as answers to five questions. The page, `watch`, the console and `plot` show
//! these words and tones, and make none of their own.
//!
//! - `answer`: words and tone; `words`: how numbers are written
//! - `evidence`: what is looked at; `spread`: whether a number is beyond what it was
//! - `speed`, `time`, `learning`, `pseudo_labels`, `drift` answer one question each; `judge` asks all of them
//! - `recent`: of a job that is observed, or that has a history

mod answer;
mod drift;
mod evidence;
mod judge;
mod learning;
mod pseudo_labels;
mod recent;
mod speed;
mod spread;
mod time;
mod words;

pub use answer::{Tone, Verdict};
pub use evidence::Evidence;
pub use judge::{TITLE_COLUMNS, judge};
pub use recent::{Recent, of_history};
