//! Decoders of hostile inputs, micro-batches and the write-ahead log.

#![allow(missing_docs)]

mod arrays;
mod by_name;
mod categories;
mod columns;
mod files;
mod full_log;
mod hostile;
mod idle;
mod images;
mod kafka;
mod lost_records;
mod micro_batches;
#[path = "../../../../tests/support/object_server.rs"]
mod object_server;
mod odd;
mod packed;
mod read;
mod remote;
mod sent_labels;
mod tables;
mod tars;
mod write_ahead_log;
