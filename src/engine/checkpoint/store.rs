//! Writes checkpoints, and removes those beyond the number to keep.

use crate::engine::checkpoint::begun;
use crate::engine::checkpoint::file::{VERSION, pack, sha256};
use crate::engine::checkpoint::folder::{StateFolder, checkpoints, make_way};
use crate::engine::checkpoint::manifest::{Manifest, SavedJob, manifest};
use crate::engine::checkpoint::saved::read;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::Section;
use sluicebox_core::step::Snapshot;
use sluicebox_stream::wal::Wal;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Writes snapshots to disk. Without a state folder it only keeps the last one's checksum.
pub struct Store {
    folder: Option<StateFolder>,
    keep: usize,
    job: SavedJob,
    log: Option<Wal>,
    written: u64,
    weights_sha256: String,
}

impl Store {
    /// Returns a store for a job's snapshots, of which it keeps the newest `keep`. It trims the records of
    /// `log` that every kept checkpoint already contains.
    pub fn new(folder: Option<StateFolder>, keep: usize, job: SavedJob, log: Option<Wal>) -> Self {
        Self { folder, keep, job, log, written: 0, weights_sha256: String::new() }
    }

    /// Number of checkpoints written by this process.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// SHA-256 of the student's section of the last snapshot: weights, running statistics, optimiser and the
    /// teacher's versions.
    pub fn weights_sha256(&self) -> &str {
        &self.weights_sha256
    }

    /// Writes a snapshot under a temporary name, renames it, and removes checkpoints beyond the number to
    /// keep. Returns the time taken, if something was written.
    pub fn commit(&mut self, snapshot: Snapshot) -> Result<Option<Duration>> {
        let began = Instant::now();
        if let Some(student) = snapshot.sections.get(Section::Student) {
            self.weights_sha256 = sha256(student);
        }
        let Some(state) = &self.folder else { return Ok(None) };
        let path = state.path();
        let folder = path.join(format!("step-{:012}", snapshot.step));
        if read(&folder).is_ok() {
            return Ok(None); // a barrier right after a checkpoint
        }
        let beside = path.join("writing");
        let written = self.write(&beside, &snapshot).and_then(|bytes| {
            // After a power cut the log must reach at least as far as the checkpoint has read it.
            self.log.as_ref().map_or(Ok(()), Wal::sync)?;
            state.remove(|step, _| step >= snapshot.step)?; // damaged, or later ones not resumed from
            make_way(&folder)?;
            std::fs::rename(&beside, &folder).map_err(|error| Error::file(&folder, error))?;
            sync_folder(path)?;
            begun::clear(path).map(|()| bytes)
        });
        let bytes = written.map_err(|error| {
            // Frees the space; a failure here does not matter.
            let _ = std::fs::remove_dir_all(&beside);
            Error::Engine(format!("cannot write a checkpoint; the one before it is intact: {error}"))
        })?;
        self.written += 1;
        // If the write-ahead log is half full, freeing its records matters more than older checkpoints.
        let pressed = self.log.as_ref().is_some_and(|log| log.fill().is_half_full());
        let keep = if pressed { 1 } else { self.keep };
        state.remove(|_, newer| newer >= keep)?;
        self.trim_log(path)?;
        let took = began.elapsed();
        tracing::debug!("written: step={} bytes={bytes} seconds={:.3}", snapshot.step, took.as_secs_f64());
        Ok(Some(took))
    }

    /// Deletes the records of the write-ahead log that no checkpoint needs.
    fn trim_log(&self, path: &Path) -> Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let kept = checkpoints(path)?.into_iter();
        let needed = kept.filter_map(|(_, folder)| manifest(&folder).ok()?.log_position).min();
        needed.map_or(Ok(()), |needed| log.trim(needed))
    }

    /// Writes a snapshot's files and returns their total size in bytes.
    fn write(&self, folder: &Path, snapshot: &Snapshot) -> Result<usize> {
        make_way(folder)?;
        std::fs::create_dir(folder).map_err(|error| Error::file(folder, error))?;
        let model = folder.join("model.safetensors");
        write(&model, &snapshot.model)?;
        let state = pack(&snapshot.sections)?;
        write(&folder.join("state.bin"), &state)?;
        let files = [("model.safetensors", &snapshot.model), ("state.bin", &state)];
        let manifest = Manifest {
            version: VERSION,
            manifest_sha256: None, // its text will have it
            sluicebox: env!("CARGO_PKG_VERSION").into(),
            step: snapshot.step,
            log_position: snapshot.log_position,
            log_end: snapshot.log_end,
            job: self.job.clone(),
            files: files.into_iter().map(|(name, bytes)| (name.to_string(), sha256(bytes))).collect(),
        };
        let path = folder.join("manifest.json");
        let text = manifest.text().map_err(|error| Error::file(&path, error))?;
        write(&path, text.as_bytes())?;
        sync_folder(folder)?;
        Ok(snapshot.model.len() + state.len() + text.len())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| Error::file(path, error))
}

/// Syncs a folder, which makes a rename in it durable.
fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| Error::file(path, error))
}
