//! Epoch reports appended to a file, one JSON object per line. An epoch that is repeated after a
//! crash is written again: readers use the last line of an epoch.

use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::fs::append;
use sluicebox_core::observers::{Event, Observer};
use std::fs::{File, OpenOptions};
use std::path::PathBuf;

/// Options of the sink.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
}

impl sluicebox_core::config::document::Settings for Settings {}

struct Jsonl {
    path: PathBuf,
    file: File,
}

/// Opens the file.
pub fn build(spec: &Spec) -> Result<Box<dyn Observer>> {
    let Settings { path } = settings(spec)?;
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.map_err(|error| Error::file(&path, format!("cannot write reports: {error}")))?;
    Ok(Box::new(Jsonl { path, file }))
}

impl Observer for Jsonl {
    fn name(&self) -> String {
        format!("jsonl {}", self.path.display())
    }

    fn notify(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            let Event::Epoch(report) = event else { continue };
            let line = serde_json::to_string(&**report).map_err(|error| Error::file(&self.path, error))?;
            append(&mut self.file, format!("{line}\n").as_bytes())
                .map_err(|error| Error::file(&self.path, error))?;
        }
        Ok(())
    }
}
