//! What a file's name does not say of its content.

use crate::decode::background::Background;
use crate::decode::table;

/// Options of decoding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether to resize images of another size (triangle filter) instead of refusing them.
    pub resize: bool,
    /// Colour behind the transparent parts of images.
    pub background: Background,
    /// How tables are read.
    pub table: table::Options,
}
