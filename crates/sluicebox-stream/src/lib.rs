//! Where samples come from and how they are kept: sources, decoders, the write-ahead log, the ingest
//! gate, micro-batches and prediction sinks. No libtorch.

pub mod accepting;
pub mod auth;
pub mod decode;
pub mod drift;
pub mod ingest;
pub mod kafka_client;
pub mod kafka_errors;
pub mod kafka_token;
pub mod kafka_web;
pub mod microbatch;
pub mod pace;
pub mod places;
pub mod protocol;
pub mod remote;
pub mod scenario;
pub mod shard_list;
pub mod sink;
pub mod source;
pub mod wal;
