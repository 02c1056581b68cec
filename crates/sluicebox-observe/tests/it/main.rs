//! History of a job.

#![allow(missing_docs)]

mod history;
mod marks;
mod webhook;
