//! The folders and files of an experiment and a run, as MLflow's file store has them.

use sluicebox_core::error::{Error, Result};
use sluicebox_core::fs::{append, replace};
use sluicebox_core::report::About;
use std::fs::{OpenOptions, create_dir_all};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A file that holds what an experiment or a run is.
const META: &str = "meta.yaml";

/// A run.
pub struct Run {
    folder: PathBuf,
    experiment: String,
    id: String,
    name: String,
    started_ms: u64,
}

impl Run {
    /// Opens the run of a job in the folder `path`, or creates it. A job with a state folder has one run, another a run for
    /// each of its starts.
    pub fn open(path: &Path, experiment: &str, name: &str, about: &About) -> Result<Self> {
        make(path)?;
        // MLflow expects whole addresses of artifacts.
        let path = path.canonicalize().map_err(|error| Error::file(path, error))?;
        let experiment = match found(&path, experiment)? {
            Some(id) => id,
            None => create(&path, experiment, about.started_ms)?,
        };
        let origin = match &about.state {
            Some(state) => {
                let state = Path::new(state);
                state.canonicalize().unwrap_or_else(|_| state.into()).display().to_string()
            }
            None => format!("{} {}", about.started_ms, about.pid),
        };
        let id = format!("{:016x}{:016x}", hash(&origin, 0), hash(&about.job, hash(&origin, 1)));
        let folder = path.join(&experiment).join(&id);
        for part in ["artifacts", "metrics", "params", "tags"] {
            make(&folder.join(part))?;
        }
        let earlier = std::fs::read_to_string(folder.join(META)).unwrap_or_default();
        let started = earlier.lines().find_map(|line| line.strip_prefix("start_time: ")?.parse().ok());
        let started_ms = started.unwrap_or(about.started_ms);
        let run = Self { folder, experiment, id, name: name.into(), started_ms };
        let tags = [
            ("mlflow.runName", name),
            ("mlflow.source.name", "sluicebox"),
            ("mlflow.source.type", "LOCAL"),
            ("mlflow.user", "sluicebox"),
            ("mlflow.note.content", &format!("```toml\n{}\n```", about.toml.trim_end())),
            ("version", &about.version),
            ("method", &about.method),
            ("device", &about.device),
            ("machine", &about.machine),
        ];
        for (key, value) in tags {
            run.put("tags", key, value)?;
        }
        Ok(run)
    }

    /// Writes a parameter. One that was changed has its new value.
    pub fn parameter(&self, key: &str, value: &str) -> Result<()> {
        self.put("params", key, value)
    }

    /// Adds a value of a metric.
    pub fn metric(&self, key: &str, at_ms: u64, value: f64, step: u64) -> Result<()> {
        let path = self.folder.join("metrics").join(key);
        path.parent().map_or(Ok(()), make)?;
        let written = OpenOptions::new().create(true).append(true).open(&path);
        written
            .and_then(|mut file| append(&mut file, format!("{at_ms} {value} {step}\n").as_bytes()))
            .map_err(|error| Error::file(&path, error))
    }

    /// Removes the values of metrics at `step` and later ones.
    pub fn forget_from(&self, step: u64) -> Result<()> {
        let folder = self.folder.join("metrics");
        for group in entries(&folder)? {
            for path in entries(&group)? {
                let text = std::fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
                let is_before = |line: &&str| {
                    let at = line.rsplit(' ').next().and_then(|step| step.parse::<u64>().ok());
                    at.is_some_and(|at| at < step)
                };
                let kept: String = text.lines().filter(is_before).map(|line| format!("{line}\n")).collect();
                if kept.len() < text.len() {
                    replace(&path, kept.as_bytes()).map_err(|error| Error::file(&path, error))?;
                }
            }
        }
        Ok(())
    }

    /// Writes what the run is, with its status and its end.
    pub fn meta(&self, status: u8, end_ms: Option<u64>) -> Result<()> {
        let Self { folder, experiment, id, name, started_ms } = self;
        let artifacts = address(&folder.join("artifacts"));
        let end = end_ms.map_or("null".to_string(), |end| end.to_string());
        let text = format!(
            "artifact_uri: {artifacts}\nend_time: {end}\nentry_point_name: ''\nexperiment_id: '{experiment}'\n\
             lifecycle_stage: active\nrun_id: {id}\nrun_name: {}\nrun_uuid: {id}\nsource_name: sluicebox\n\
             source_type: 4\nsource_version: ''\nstart_time: {started_ms}\nstatus: {status}\ntags: []\n\
             user_id: sluicebox\n",
            quoted(name)
        );
        let path = folder.join(META);
        replace(&path, text.as_bytes()).map_err(|error| Error::file(&path, error))
    }

    fn put(&self, part: &str, key: &str, value: &str) -> Result<()> {
        let path = self.folder.join(part).join(key);
        std::fs::write(&path, value).map_err(|error| Error::file(&path, error))
    }
}

/// Returns the id of the experiment called `name`, if there is one.
fn found(path: &Path, name: &str) -> Result<Option<String>> {
    for folder in entries(path)? {
        let meta = std::fs::read_to_string(folder.join(META)).unwrap_or_default();
        let line = meta.lines().find_map(|line| line.strip_prefix("name: "));
        let is_it =
            line.is_some_and(|line| [name, &quoted(name), &format!("'{name}'")].contains(&line.trim()));
        if let (true, Some(id)) = (is_it, folder.file_name().and_then(|id| id.to_str())) {
            return Ok(Some(id.into()));
        }
    }
    Ok(None)
}

/// Creates an experiment and returns its id, which is made of its name.
fn create(path: &Path, name: &str, now_ms: u64) -> Result<String> {
    let id = format!("{:018}", hash(name, 2) % 1_000_000_000_000_000_000);
    let folder = path.join(&id);
    make(&folder)?;
    let text = format!(
        "artifact_location: {}\ncreation_time: {now_ms}\nexperiment_id: '{id}'\nlast_update_time: {now_ms}\n\
         lifecycle_stage: active\nname: {}\n",
        address(&folder),
        quoted(name)
    );
    let path = folder.join(META);
    replace(&path, text.as_bytes()).map_err(|error| Error::file(&path, error))?;
    Ok(id)
}

/// Returns text as YAML reads it back, whatever it is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn address(path: &Path) -> String {
    quoted(&format!("file://{}", path.display()))
}

/// Returns what is in a folder; nothing where it does not exist.
fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    match std::fs::read_dir(path) {
        Ok(entries) => {
            Ok(entries.flatten().map(|entry| entry.path()).filter(|path| !is_hidden(path)).collect())
        }
        Err(error) if error.kind() == ErrorKind::NotFound || error.kind() == ErrorKind::NotADirectory => {
            Ok(Vec::new())
        }
        Err(error) => Err(Error::file(path, error)),
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn make(path: &Path) -> Result<()> {
    create_dir_all(path).map_err(|error| Error::file(path, format!("cannot be made: {error}")))
}

/// Returns a number that follows from a text (FNV-1a).
fn hash(text: &str, seed: u64) -> u64 {
    let begin = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    text.bytes().fold(begin, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
