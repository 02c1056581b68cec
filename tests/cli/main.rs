//! The command as its users run it, and the rules of the source tree.

#![allow(missing_docs)]

#[path = "../support/reports.rs"]
mod reports;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/terminal.rs"]
mod terminal;

mod answer;
mod cli;
mod compare;
mod console;
mod files;
mod gpu_check;
mod kafka;
mod layout;
mod lines;
mod logging;
mod network_accuracy;
mod plot;
mod python;
mod pytorch;
mod same_job;
mod slips;
mod tensorboard;
mod watch;
