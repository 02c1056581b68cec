//! Tables of text: rows of numbers with or without header, class and id. One reader for all of them: the source
//! `csv`, files in a folder, pipes and feeders.

mod column;
mod layout;
mod options;
mod records;
mod rows;

pub use column::Column;
pub use layout::{Layout, Row, Wanted};
pub use options::{Header, Options, comma, missing_markers};
pub use records::csv;
pub use rows::Rows;
