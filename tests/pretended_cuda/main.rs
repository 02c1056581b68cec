//! Jobs on a GPU, without a GPU: a pretended CUDA device (`device.cpp` beside this file) refuses what a real one
//! refuses and logs what the program asks of it. Without a C++ compiler these tests are skipped, with a message.

#![allow(missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod gpu_check;
mod jobs;
mod ledger;
mod library;
mod operations;
mod operations_log;
mod running;
mod serving;
