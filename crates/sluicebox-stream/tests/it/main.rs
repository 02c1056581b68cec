//! Micro-batches and the write-ahead log.

#![allow(missing_docs)]

mod lost_records;
mod micro_batches;
mod write_ahead_log;
