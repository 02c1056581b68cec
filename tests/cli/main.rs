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
mod demo;
mod docs;
mod docs_commands;
mod files;
mod gpu_check;
mod init;
mod kafka;
mod layout;
mod lines;
mod logging;
mod mlflow;
mod network_accuracy;
mod packaging;
mod plot;
mod python;
mod python_package;
mod pytorch;
mod same_job;
mod schema;
mod slips;
mod tensorboard;
mod watch;
mod workers;
