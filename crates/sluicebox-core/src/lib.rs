//! Plain data that every part of Sluicebox shares: samples, steps, reports, settings and errors.
//! No libtorch, no dataflow, no network.

pub mod backlog;
pub mod config;
pub mod controls;
pub mod error;
pub mod fs;
pub mod health;
pub mod interval;
pub mod observers;
pub mod report;
pub mod rng;
pub mod sample;
pub mod sample_id;
pub mod state;
pub mod statistics;
pub mod step;
pub mod step_notes;
pub mod system;
pub mod terminal;
