//! Several processes train one network: on this machine, over loopback.

#![allow(missing_docs)]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod failures;
mod layouts;
mod relay;
mod start_up;
mod stop;
mod tls;
