//! The other end of a job: feed samples, send labels, watch and plot. No libtorch.

mod backoff;
pub mod commands;
pub mod feed;
pub mod http;
pub mod labels;
pub mod watch;
