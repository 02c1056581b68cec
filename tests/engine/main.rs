//! The dataflow and its stages, in this process.

#![allow(missing_docs)]

#[path = "../support/ledger.rs"]
mod alone;
#[path = "../support/reports.rs"]
mod reports;
#[path = "../support/mod.rs"]
mod support;

mod bad_labels;
mod beyond_fixmatch;
mod contract;
mod divergence;
mod empty_steps;
mod first_labels;
mod labelled;
mod ledger;
mod metrics;
mod oracle;
mod pressure;
mod regularise;
mod saved_state;
mod scenarios;
mod standardise;
mod step_by_step;
mod torchscript;
mod two_networks;
mod workers;
