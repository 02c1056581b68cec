//! The other side of the source `tcp`: what `sluicebox feed` does.

pub mod connection;
