//! The stages that compute, in the order of the dataflow: collate, views, teacher, filter, student.

pub mod chain;
pub mod collate;
pub mod effort;
pub mod filter;
pub mod gate;
pub mod parts;
pub mod prototype_fit;
pub mod relabel;
pub mod student;
pub mod teacher;
pub mod team;
mod unfit;
pub mod views;
pub mod warm_up;
pub mod wire;
