//! Ingest gate: checks the samples and labels that arrive from outside, assigns ids and writes them
//! to the write-ahead log. Everything it acknowledges is durable.

mod context;
mod feeder_marks;
mod gate;
mod known_ids;
mod label_message;
mod met;
mod prepared;
mod record;
mod refusal;
mod saved;

pub use context::IngestContext;
pub use gate::Ingest;
pub use label_message::LabelMessage;
pub use met::Met;
pub use prepared::Taken;
pub use record::{LABELS, RECORD_SAMPLES, STEP_JOURNAL, block, content, given_id, record};
pub use refusal::Refusal;
pub use saved::Mark;
