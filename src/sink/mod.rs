//! Who is told, beside the console. One file a sink, one row in [`SINKS`].

mod jsonl;

use crate::error::Result;
use crate::metrics::EpochReport;
use crate::registry::{Entry, Registry, Spec, resolve};

/// A place where reports go.
pub trait Sink {
    /// An epoch is done.
    fn epoch(&mut self, report: &EpochReport) -> Result<()>;
}

/// Makes a sink from resolved options.
pub type Build = fn(&Spec) -> Result<Box<dyn Sink>>;

/// Every sink a job can name.
pub static SINKS: Registry<Build> = Registry {
    what: "sink",
    entries: &[Entry {
        name: "jsonl",
        about: "a file with one JSON object an epoch",
        resolve: resolve::<jsonl::Settings>,
        build: jsonl::build,
    }],
};
