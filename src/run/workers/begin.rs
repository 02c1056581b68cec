//! What a worker needs to begin: the job, its samples' format, and worker 0's student as it is. A process that has neither the
//! job's data nor its files gets all of it from process 0.

use crate::job::Job;
use crate::run::open::Opened;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use sluicebox_core::state::{Sections, decode, encode};
use sluicebox_learn::model::layout::{Layout, Slot};
use std::collections::BTreeMap;
use std::path::Path;

/// Name of it in messages.
const WHAT: &str = "the job from process 0";
/// Bytes that a message may have besides what follows from the job: for what a method keeps.
const ROOM: u64 = 64 << 20;
/// Bytes that a message may have for each number of a sample: views, targets and the method's own rows, as 32-bit floats.
const BYTES: u64 = 64;

/// What a worker needs to begin.
#[derive(Debug, Clone)]
pub struct Begin {
    /// The job, with its precision resolved.
    pub job: Job,
    /// Format of the samples.
    pub format: Format,
    /// The student's sections of a checkpoint.
    pub sections: Sections,
    /// The file that the network is read from, where it is one.
    module: Option<Vec<u8>>,
}

/// [`Begin`] as it crosses processes.
#[derive(Serialize, Deserialize)]
struct Sent {
    /// As JSON: job files hold values of any type.
    job: String,
    format: String,
    sections: BTreeMap<String, ByteBuf>,
    module: Option<ByteBuf>,
}

/// Kind of network that is a file.
const MODULE: &str = "torchscript";
/// The option that names the file.
const PATH: &str = "path";

impl Begin {
    /// Creates what workers beside worker 0 begin with, whose student has these `sections`.
    ///
    /// # Errors
    /// [`Error::File`] if the network is a file that cannot be read.
    pub fn new(opened: &Opened, sections: Sections) -> Result<Self> {
        let Opened { job, format, .. } = opened;
        let path = job.model.options.get(PATH).filter(|_| job.model.kind == MODULE && job.processes > 1);
        let read = |path: &str| std::fs::read(path).map_err(|error| Error::file(path, error));
        let module = path.and_then(|path| path.as_str()).map(read).transpose()?;
        Ok(Self { job: job.clone(), format: format.clone(), sections, module })
    }

    /// Returns it as bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let sections = self.sections.by_name().iter();
        let sent = Sent {
            job: serde_json::to_string(&self.job).map_err(Error::request)?,
            format: serde_json::to_string(&self.format).map_err(Error::request)?,
            sections: sections.map(|(name, state)| (name.clone(), ByteBuf::from(state.clone()))).collect(),
            module: self.module.clone().map(ByteBuf::from),
        };
        encode(WHAT, &sent)
    }

    /// Reads what process 0 has sent. The file of a network is put into `folder`.
    pub fn from_bytes(bytes: &[u8], folder: &Path) -> Result<Self> {
        let sent: Sent = decode(WHAT, bytes)?;
        let damaged = |error| Error::Request(format!("{WHAT} is damaged: {error}"));
        let sections: BTreeMap<String, Vec<u8>> =
            sent.sections.into_iter().map(|(name, state)| (name, state.into_vec())).collect();
        let mut job: Job = serde_json::from_str(&sent.job).map_err(damaged)?;
        if let Some(module) = sent.module {
            let path = folder.join("module.pt");
            std::fs::write(&path, module).map_err(|error| Error::file(&path, error))?;
            job.model.options.insert(PATH.into(), path.display().to_string().into());
        }
        let format = serde_json::from_str(&sent.format).map_err(damaged)?;
        Ok(Self { job, format, sections: sections.into(), module: None })
    }

    /// Returns the longest message between processes of this job, in bytes.
    pub fn longest_frame(&self, layout: &Layout) -> u64 {
        let Job { batch, .. } = &self.job;
        let updates = batch.updates as u64 + batch.warmup_steps as u64;
        let samples = batch.unlabelled as u64 + batch.labelled as u64 * updates;
        let widest = layout.parameters.iter().flat_map(|slot| slot.shape.last().copied()).max();
        let numbers = self.format.shape.len() as u64
            + self.format.classes.len() as u64
            + widest.unwrap_or_default().unsigned_abs();
        ROOM + layout.parameters.iter().map(Slot::len).sum::<i64>() as u64 + BYTES * samples * numbers
    }
}
