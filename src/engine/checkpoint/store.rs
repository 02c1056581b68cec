//! Writes checkpoints, and removes those beyond the number to keep.

use crate::engine::checkpoint::begun;
use crate::engine::checkpoint::file::{VERSION, pack, sha256};
use crate::engine::checkpoint::folder::{StateFolder, checkpoints, make_way, name, sync_folder, twin};
use crate::engine::checkpoint::manifest::{Manifest, SavedJob, manifest};
use crate::engine::checkpoint::saved::read;
use sluicebox_core::controls::Controls;
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
    controls: Controls,
    written: u64,
    failures: u64,
    /// The newest snapshot that could not be written, with the reason; none once a later one is written.
    unwritten: Option<(u64, String)>,
    weights_sha256: String,
}

/// Part of the job in its troubles.
const PART: &str = "checkpoint";
/// Time after which a checkpoint that could not be written is tried again, if none is due before.
const RETRY: Duration = Duration::from_secs(10);

impl Store {
    /// Returns a store for a job's snapshots, of which it keeps the newest `keep`. It trims the records of
    /// `log` that every kept checkpoint already contains. It asks `controls` for another snapshot where one
    /// cannot be written.
    pub fn new(
        folder: Option<StateFolder>,
        keep: usize,
        job: SavedJob,
        log: Option<Wal>,
        controls: Controls,
    ) -> Self {
        let (written, failures, unwritten) = (0, 0, None);
        Self { folder, keep, job, log, controls, written, failures, unwritten, weights_sha256: String::new() }
    }

    /// Number of checkpoints written by this process.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Number of checkpoints that this process could not write.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Fails if the newest snapshot could not be written. A job that has ended is then not saved.
    pub fn check(&self) -> Result<()> {
        match self.unwritten.clone() {
            Some((step, reason)) => Err(Error::Operator { operator: "commit".into(), step, reason }),
            None => Ok(()),
        }
    }

    /// SHA-256 of the student's section of the last snapshot: weights, running statistics, optimiser and the
    /// teacher's versions.
    pub fn weights_sha256(&self) -> &str {
        &self.weights_sha256
    }

    /// Writes a snapshot under a temporary name, renames it, and removes checkpoints beyond the number to
    /// keep. Where its teacher is the best so far, it takes the place of the best checkpoint too. Returns the time taken, if something was written. Where it cannot be written, the job goes on:
    /// the checkpoint before and the log are intact, and a later snapshot is tried.
    pub fn commit(&mut self, snapshot: Snapshot) -> Result<Option<Duration>> {
        let began = Instant::now();
        if let Some(student) = snapshot.sections.get(Section::Student) {
            self.weights_sha256 = sha256(student);
        }
        let Some(state) = &self.folder else { return Ok(None) };
        let path = state.path();
        let folder = path.join(name(snapshot.step, false));
        let best = snapshot.is_best.then(|| path.join(name(snapshot.step, true)));
        if read(&folder).is_ok() {
            return Ok(None); // a barrier right after a checkpoint
        }
        if let Some(what) = snapshot.not_finite {
            let reason = format!("not finite: {what}; lower optimiser.learning_rate");
            self.put_off(snapshot.step, &Error::Request(reason));
            return Ok(None);
        }
        let beside = path.join("writing");
        let written = self.write(&beside, &snapshot).and_then(|bytes| {
            // After a power cut the log must reach at least as far as the checkpoint has read it.
            self.log.as_ref().map_or(Ok(()), Wal::sync)?;
            state.remove(|step, _| step >= snapshot.step)?; // damaged, or later ones not resumed from
            // The best comes first: a checkpoint that knows of it is never there without it.
            best.as_ref().map_or(Ok(()), |best| twin(&beside, best))?;
            make_way(&folder)?;
            std::fs::rename(&beside, &folder).map_err(|error| Error::file(&folder, error))?;
            sync_folder(path)?;
            best.as_ref().map_or(Ok(()), |best| state.keep_best(Some(best)))?;
            begun::clear(path).map(|()| bytes)
        });
        let bytes = match written {
            Ok(bytes) => bytes,
            Err(error) => {
                // Frees the space; a failure here does not matter.
                let _ = std::fs::remove_dir_all(&beside);
                self.put_off(snapshot.step, &error);
                return Ok(None);
            }
        };
        self.written += 1;
        self.unwritten = None;
        if self.controls.health.works(PART) {
            tracing::info!("checkpoints are written again, from step {} on", snapshot.step);
        }
        self.log.iter().for_each(|log| log.expect_checkpoint(bytes as u64));
        // Freeing the log's records then matters more than older checkpoints.
        let pressed = self.log.as_ref().is_some_and(Wal::is_pressed);
        let keep = if pressed { 1 } else { self.keep };
        state.remove(|_, newer| newer >= keep)?;
        self.trim_log(path)?;
        let took = began.elapsed();
        tracing::debug!("written: step={} bytes={bytes} seconds={:.3}", snapshot.step, took.as_secs_f64());
        Ok(Some(took))
    }

    /// Records that a snapshot could not be written, and asks for another.
    fn put_off(&mut self, step: u64, error: &Error) {
        self.failures += 1;
        let reason = format!("cannot write a checkpoint; the one before it is intact: {error}");
        self.unwritten = Some((step, reason.clone()));
        if self.controls.health.trouble(PART, &reason) {
            tracing::warn!("{reason}; the job goes on, and tries again every {} s", RETRY.as_secs());
        }
        self.controls.ask_for_checkpoint_in(RETRY);
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
