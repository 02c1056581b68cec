//! How a job file becomes typed settings: text with places, tables of names, ranges.

pub mod document;
mod finite;
pub mod plain_words;
pub mod range;
pub mod registry;
pub mod schema;
pub mod set_order;
pub mod spelling;
