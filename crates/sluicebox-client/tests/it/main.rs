//! The source `tcp` and its feeders.

#![allow(missing_docs)]

#[path = "../../../../tests/support/feeding.rs"]
mod feeding;

mod binary;
mod silence;
mod tcp;
