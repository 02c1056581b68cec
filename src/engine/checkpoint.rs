//! The state folder: writes, verifies, lists and removes checkpoints.
//!
//! A checkpoint is one folder, `step-000000000800`, written under a temporary name and then renamed. It
//! contains `model.safetensors` (the teacher under PyTorch's names), `state.bin` (everything a restart needs)
//! and `manifest.json` (version, job, step, SHA-256 of both).

use crate::job::Job;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;
use sluicebox_core::state::{Section, Sections};
use sluicebox_core::step::Snapshot;
use sluicebox_stream::wal::Wal;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Version of this format.
pub const VERSION: u32 = 6;
const MAGIC: &[u8; 8] = b"SLUICEBX";
/// A larger section counts as damage.
const MOST_BYTES: u64 = 64 << 30;

/// Content of `manifest.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the checkpoint format.
    pub version: u32,
    /// Version of Sluicebox that wrote it.
    pub sluicebox: String,
    /// Steps done.
    pub step: u64,
    /// First record of the write-ahead log that a restart from here reads, if the job has a log.
    #[serde(default)]
    pub log_position: Option<u64>,
    /// SHA-256 of the resolved job.
    pub job_sha256: String,
    /// The resolved job.
    pub job: Job,
    /// Shape, type and classes of the job's samples.
    pub format: Format,
    /// SHA-256 of each file.
    pub files: BTreeMap<String, String>,
}

/// An intact checkpoint.
#[derive(Debug)]
pub struct Saved {
    /// The manifest.
    pub manifest: Manifest,
    /// State of each owner, as bytes.
    pub sections: Sections,
    /// Folder of the checkpoint.
    pub folder: PathBuf,
}

impl Saved {
    /// Returns the state of one owner.
    pub fn section(&self, section: Section) -> Result<&[u8]> {
        let state = self.sections.get(section);
        state.ok_or_else(|| Error::file(&self.folder, format!("has no state of `{}`", section.name())))
    }

    /// Refuses a job that cannot resume from this state.
    pub fn follows(&self, job: &Job) -> Result<()> {
        let Some(difference) = job.differs(&self.manifest.job) else { return Ok(()) };
        let reason = format!(
            "this state is of another job: {difference}; put it back, name another --state, or start anew \
             with --fresh"
        );
        Err(Error::file(&self.folder, reason))
    }

    /// Refuses samples of another format than those this state's model was trained on.
    pub fn suits(&self, format: &Format) -> Result<()> {
        let then = &self.manifest.format;
        if then == format {
            return Ok(());
        }
        let reason = format!(
            "this state is of samples of {} in {} classes ({}), but the source gives {} in {} ({})",
            then.shape,
            then.classes.len(),
            then.classes.join(", "),
            format.shape,
            format.classes.len(),
            format.classes.join(", ")
        );
        Err(Error::file(&self.folder, reason))
    }

    /// Returns the path of the teacher's weights, under PyTorch's names.
    pub fn model(&self) -> PathBuf {
        self.folder.join("model.safetensors")
    }
}

/// A state folder, locked by this process.
pub struct StateFolder {
    path: PathBuf,
    _lock: File,
}

impl StateFolder {
    /// Creates the folder if it does not exist, and locks it.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_file() {
            return Err(Error::file(path, "is a file, but --state needs a folder"));
        }
        let cannot = |error| Error::file(path, format!("cannot write to the state folder: {error}"));
        std::fs::create_dir_all(path).map_err(cannot)?;
        let lock = File::create(path.join("lock")).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::file(path, "another job is running with this state folder"));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// Removes every checkpoint, the write-ahead log and the history, for a start from scratch.
    pub fn clear(&self) -> Result<()> {
        sluicebox_observe::history::clear(&self.path)?;
        let log = self.path.join("log");
        if log.exists() {
            std::fs::remove_dir_all(&log).map_err(|error| Error::file(&log, error))?;
        }
        for (_, folder) in checkpoints(&self.path)? {
            std::fs::remove_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
        }
        self.remove_journals()
    }

    /// Removes the journals of sources, which lie beside the checkpoints.
    fn remove_journals(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.path).map_err(|error| Error::file(&self.path, error))? {
            let path = entry.map_err(|error| Error::file(&self.path, error))?.path();
            if path.extension().is_some_and(|extension| extension == "journal") {
                std::fs::remove_file(&path).map_err(|error| Error::file(&path, error))?;
            }
        }
        Ok(())
    }

    /// Returns the newest intact checkpoint, if there is one.
    pub fn newest(&self) -> Result<Option<Saved>> {
        newest(&self.path)
    }
}

/// Returns the newest intact checkpoint in a state folder. Damaged ones are skipped with a warning. One of
/// another version is an error, and is left untouched.
pub fn newest(path: &Path) -> Result<Option<Saved>> {
    let mut damaged = 0;
    for (_, folder) in checkpoints(path)?.into_iter().rev() {
        if let Some(version) = version(&folder).filter(|version| *version != VERSION) {
            let todo = if version > VERSION { "upgrade Sluicebox" } else { "use the Sluicebox it is of" };
            let reason = format!(
                "was written by another Sluicebox: its format is {version}, this one reads {VERSION}; {todo}, \
                 name another folder, or start anew with --fresh"
            );
            return Err(Error::file(&folder, reason));
        }
        match read(&folder) {
            Ok(saved) => return Ok(Some(saved)),
            Err(error) => {
                damaged += 1;
                tracing::warn!("skipping a damaged checkpoint: {error}");
            }
        }
    }
    if damaged > 0 {
        let reason = "every checkpoint in it is damaged; name another folder, or start anew with --fresh";
        return Err(Error::file(path, reason));
    }
    Ok(None)
}

/// Returns the checkpoints in a folder by step, the oldest first, intact or not.
fn checkpoints(path: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = std::fs::read_dir(path).map_err(|error| Error::file(path, error))?;
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let step = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
            Some((step, entry.path()))
        })
        .collect();
    found.sort();
    Ok(found)
}

/// Returns the format version of a checkpoint, if it can be read.
fn version(folder: &Path) -> Option<u32> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let text = std::fs::read(folder.join("manifest.json")).ok()?;
    serde_json::from_slice(&text).ok().map(|Version { version }| version)
}

/// Reads a checkpoint's manifest.
fn manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join("manifest.json");
    let text = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
    serde_json::from_slice(&text).map_err(|error| Error::file(&path, error))
}

/// Reads a checkpoint and verifies every checksum.
fn read(folder: &Path) -> Result<Saved> {
    let manifest = manifest(folder)?;
    for (name, sum) in &manifest.files {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
        if sha256(&bytes) != *sum {
            return Err(Error::file(&path, "its checksum is wrong"));
        }
    }
    let path = folder.join("state.bin");
    let bytes = std::fs::read(&path).map_err(|error| Error::file(&path, error))?;
    let sections = unpack(&bytes).map_err(|reason| Error::file(&path, reason))?;
    Ok(Saved { manifest, sections: sections.into(), folder: folder.to_path_buf() })
}

/// Serialises sections: magic · version · length · SHA-256 · bincode of the sections.
fn pack(sections: &Sections) -> Result<Vec<u8>> {
    let sections: BTreeMap<&String, &serde_bytes::Bytes> =
        sections.by_name().iter().map(|(name, bytes)| (name, serde_bytes::Bytes::new(bytes))).collect();
    let payload = bincode::serialize(&sections).map_err(|error| Error::Engine(error.to_string()))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(Sha256::digest(&payload));
    bytes.extend(payload);
    Ok(bytes)
}

/// Returns the sections of a `state.bin`, or the reason why it is invalid.
pub fn unpack(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    use bincode::Options;
    let head = MAGIC.len() + 4 + 8 + 32;
    if bytes.len() < head || !bytes.starts_with(MAGIC) {
        return Err("is no state of Sluicebox".into());
    }
    let (version, rest) = bytes[MAGIC.len()..].split_at(4);
    if version != VERSION.to_le_bytes() {
        return Err(format!("is of another version than {VERSION}"));
    }
    let (length, rest) = rest.split_at(8);
    let (sum, payload) = rest.split_at(32);
    if length != (payload.len() as u64).to_le_bytes() || Sha256::digest(payload)[..] != *sum {
        return Err("is damaged".into());
    }
    let options = bincode::DefaultOptions::new().with_fixint_encoding().with_limit(MOST_BYTES);
    let sections: BTreeMap<String, serde_bytes::ByteBuf> =
        options.deserialize(payload).map_err(|error| error.to_string())?;
    Ok(sections.into_iter().map(|(name, bytes)| (name, bytes.into_vec())).collect())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes snapshots to disk. Without a state folder it only keeps the last one's checksum.
pub struct Store {
    folder: Option<StateFolder>,
    job: Job,
    format: Format,
    log: Option<Wal>,
    written: u64,
    weights_sha256: String,
}

impl Store {
    /// Returns a store for a job's snapshots. It trims the records of `log` that every kept checkpoint
    /// already contains.
    pub fn new(folder: Option<StateFolder>, job: Job, format: Format, log: Option<Wal>) -> Self {
        Self { folder, job, format, log, written: 0, weights_sha256: String::new() }
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
        let Some(StateFolder { path, .. }) = &self.folder else { return Ok(None) };
        let folder = path.join(format!("step-{:012}", snapshot.step));
        if read(&folder).is_ok() {
            return Ok(None); // a barrier right after a checkpoint
        }
        let beside = path.join("writing");
        let written = self.write(&beside, &snapshot).and_then(|bytes| {
            self.forget(path, |step, _| step >= snapshot.step)?; // damaged, or later ones not resumed from
            std::fs::rename(&beside, &folder).map_err(|error| Error::file(&folder, error))?;
            sync_folder(path).map(|()| bytes)
        });
        let bytes = written.map_err(|error| {
            // Frees the space; a failure here does not matter.
            let _ = std::fs::remove_dir_all(&beside);
            Error::Engine(format!("cannot write a checkpoint, the last one stands: {error}"))
        })?;
        self.written += 1;
        // If the write-ahead log is half full, freeing its records matters more than older checkpoints.
        let pressed = self.log.as_ref().is_some_and(|log| log.fill().is_half_full());
        let keep = if pressed { 1 } else { self.job.checkpoint.keep };
        self.forget(path, |_, newer| newer >= keep)?;
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

    /// Removes the checkpoints for which `gone` holds, given the step and the number of newer ones.
    fn forget(&self, path: &Path, gone: impl Fn(u64, usize) -> bool) -> Result<()> {
        for (newer, (step, old)) in checkpoints(path)?.into_iter().rev().enumerate() {
            if gone(step, newer) {
                std::fs::remove_dir_all(&old).map_err(|error| Error::file(&old, error))?;
            }
        }
        Ok(())
    }

    /// Writes a snapshot's files and returns their total size in bytes.
    fn write(&self, folder: &Path, snapshot: &Snapshot) -> Result<usize> {
        if folder.exists() {
            std::fs::remove_dir_all(folder).map_err(|error| Error::file(folder, error))?;
        }
        std::fs::create_dir(folder).map_err(|error| Error::file(folder, error))?;
        let model = folder.join("model.safetensors");
        write(&model, &snapshot.model)?;
        let state = pack(&snapshot.sections)?;
        write(&folder.join("state.bin"), &state)?;
        let files = [("model.safetensors", &snapshot.model), ("state.bin", &state)];
        let manifest = Manifest {
            version: VERSION,
            sluicebox: env!("CARGO_PKG_VERSION").into(),
            step: snapshot.step,
            log_position: snapshot.log_position,
            job_sha256: sha256(self.job.resolved().as_bytes()),
            job: self.job.clone(),
            format: self.format.clone(),
            files: files.into_iter().map(|(name, bytes)| (name.to_string(), sha256(bytes))).collect(),
        };
        let path = folder.join("manifest.json");
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| Error::file(&path, error))?;
        write(&path, &text)?;
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

fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| Error::file(path, error))
}

/// Syncs a folder, which makes a rename in it durable.
fn sync_folder(path: &Path) -> Result<()> {
    sync(path)
}
