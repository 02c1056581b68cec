//! Faults that happen to others: power loss, bad disks, calls that fail. A job is fed over HTTP and TCP; its
//! predictions show what it was trained on. What it acknowledged, it is trained on once; no id names two
//! samples; what is gone is said; nothing hangs.
//!
//! Some cases run with the other tests; `scripts/fault-matrix` runs all of them.

#![allow(missing_docs)]

#[path = "../support/fed_job.rs"]
mod fed_job;
#[path = "../support/tcp_feeder.rs"]
mod tcp_feeder;

mod account;
mod damage;
mod feeding;
mod io_faults;
mod power_loss;
mod random;
mod recovery;
mod shim;
mod tally;

use std::time::Duration;

#[test]
fn some_of_what_a_power_loss_leaves() {
    if shim::build().is_some() {
        power_loss::some();
    }
}

#[test]
fn some_calls_fail() {
    if shim::build().is_some() {
        io_faults::some();
    }
}

#[test]
#[ignore = "takes long: scripts/fault-matrix"]
fn all_that_a_power_loss_leaves() {
    if shim::build().is_some() {
        power_loss::all("os");
    }
}

#[test]
#[ignore = "takes long: scripts/fault-matrix"]
fn all_that_a_power_loss_leaves_with_fsync() {
    if shim::build().is_some() {
        power_loss::all("fsync");
    }
}

#[test]
#[ignore = "takes long: scripts/fault-matrix"]
fn every_kind_of_call_fails() {
    if shim::build().is_some() {
        io_faults::all();
    }
}

#[test]
fn random_actions_break_no_promise() {
    let variable = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    match (variable("SLUICEBOX_SEED"), variable("SLUICEBOX_SECONDS")) {
        (Some(seed), seconds) => random::run(seed, Duration::from_secs(seconds.unwrap_or(600))),
        (None, _) => [1, 2].into_iter().for_each(|seed| random::run(seed, Duration::from_secs(15))),
    }
}
