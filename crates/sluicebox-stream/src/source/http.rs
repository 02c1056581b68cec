//! Source of the samples sent to `POST /samples`. The job's server ingests them; this source reads
//! them back from the write-ahead log. Its options describe the samples.

use crate::ingest::IngestContext;
use crate::source::api::{Context, Source};
use crate::source::logged::Logged;
use crate::source::sample_format::SampleFormatOptions;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};

/// Options of the source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(SampleFormatOptions);

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        self.0.faults()
    }
}

/// Builds the source from resolved options.
pub fn build(spec: &Spec, _context: &Context) -> Result<Box<dyn Source>> {
    let Settings(options) = settings(spec)?;
    let start = |live: &IngestContext, stream: u16| {
        let twice = |_| {
            Error::request(
                "a job can have one http source only: POST /samples does not say which source it feeds",
            )
        };
        live.ingest.http.set(stream).map_err(twice)
    };
    Ok(Box::new(Logged::new(options.format(), Box::new(start))))
}
