//! Tables of text: rows of numbers with or without header, class and id. One reader for all of them: the source
//! `csv`, files in a folder, pipes and feeders.

pub mod arff;
mod categorical;
mod column;
mod encoding;
mod first;
mod layout;
mod number;
mod options;
mod records;
mod rows;

pub use categorical::{Categorical, Categories};
pub use column::Column;
pub use encoding::{DECLARE, Encoding, Given};
pub use first::look;
pub use layout::{Layout, Row, Wanted, class_by_name};
pub use options::{Header, Options, comma, is_one_hot_max, one_hot_max};
pub use records::csv;
pub use rows::Rows;
