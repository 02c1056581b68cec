//! Decoders of hostile inputs, micro-batches and the write-ahead log.

#![allow(missing_docs)]

mod full_log;
mod hostile;
mod idle;
mod lost_records;
mod micro_batches;
mod read;
mod sent_labels;
mod write_ahead_log;
