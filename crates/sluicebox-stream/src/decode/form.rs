//! How samples look in the requests of a job's server.

use crate::decode::keys::Keys;
use crate::decode::options::Options;
use sluicebox_core::sample::Format;

/// Keys of samples as objects, and what may be done to images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// Keys of samples as objects.
    pub keys: Keys,
    /// Options of images.
    pub options: Options,
    /// Whether it is that of the source which requests feed.
    pub is_fed: bool,
}

impl Form {
    /// Returns the form of samples of `format` that are read by `options`. Where these suit tables only, objects have
    /// no features by name.
    pub fn of(options: Options, format: &Format) -> Self {
        Self { keys: Keys::of(&options.table, format).unwrap_or_default(), options, is_fed: false }
    }
}
