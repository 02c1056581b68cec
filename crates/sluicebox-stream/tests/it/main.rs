//! Decoders of hostile inputs, micro-batches and the write-ahead log.

#![allow(missing_docs)]

mod arrays;
mod columns;
mod files;
mod full_log;
mod hostile;
mod idle;
mod images;
mod lost_records;
mod micro_batches;
mod packed;
mod read;
mod sent_labels;
mod tables;
mod write_ahead_log;
