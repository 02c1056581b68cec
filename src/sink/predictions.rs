//! What the teacher made of each streamed sample: files of one JSON object a sample, in the
//! stream's order. A full file is moved aside as `PATH.1`, `PATH.2`, …, and the oldest go. How
//! far it is written is in the checkpoint: a resumed job goes on from there, so that each sample
//! is in it once.

use super::Sink;
use crate::data::Prediction;
use crate::error::{Error, Result};
use crate::registry::{Spec, settings};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Options of the sink.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Bytes after which a file is full.
    #[serde(default = "max_bytes")]
    pub max_bytes: u64,
    /// Full files that are kept.
    #[serde(default = "keep")]
    pub keep: u64,
}

fn max_bytes() -> u64 {
    256 << 20
}

fn keep() -> u64 {
    8
}

impl crate::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.max_bytes < 4096 {
            faults.push(("max_bytes", format!("{} is too few: it must be 4096 or more", self.max_bytes)));
        }
        faults
    }
}

struct Predictions {
    settings: Settings,
    /// None until the first sample: a restored file is cut first.
    file: Option<File>,
    state: State,
}

/// How far it is written.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct State {
    /// Number of the newest full file; 0 where there is none.
    full: u64,
    /// Bytes in the file that is being written.
    bytes: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    id: u64,
    class: &'a str,
    confidence: f32,
    accepted: bool,
    teacher_step: u64,
}

/// Goes on where earlier runs ended.
pub fn build(spec: &Spec) -> Result<Box<dyn Sink>> {
    let settings: Settings = settings(spec)?;
    let mut sink = Predictions { settings, file: None, state: State::default() };
    if let Some(folder) = sink.settings.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| sink.fault(error))?;
    }
    sink.state.full = sink.numbers()?.into_iter().max().unwrap_or(0);
    let file = sink.open()?;
    sink.state.bytes = file.metadata().map_err(|error| sink.fault(error))?.len();
    sink.file = Some(file);
    Ok(Box::new(sink))
}

impl Predictions {
    fn fault(&self, error: std::io::Error) -> Error {
        Error::file(&self.settings.path, format!("cannot write predictions: {error}"))
    }

    fn open(&self) -> Result<File> {
        let file = OpenOptions::new().create(true).append(true).open(&self.settings.path);
        file.map_err(|error| self.fault(error))
    }

    /// A full file.
    fn full(&self, number: u64) -> PathBuf {
        let mut name = self.settings.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// The numbers of all full files.
    fn numbers(&self) -> Result<Vec<u64>> {
        let path = &self.settings.path;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let entries =
            std::fs::read_dir(folder.unwrap_or(Path::new("."))).map_err(|error| self.fault(error))?;
        let stem = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = |name: String| name.strip_prefix(&stem)?.strip_prefix('.')?.parse().ok();
        Ok(entries.flatten().filter_map(|entry| number(entry.file_name().into_string().ok()?)).collect())
    }

    /// Moves the full file aside; the oldest ones go.
    fn rotate(&mut self) -> Result<()> {
        self.state = State { full: self.state.full + 1, bytes: 0 };
        let path = &self.settings.path;
        std::fs::rename(path, self.full(self.state.full)).map_err(|error| self.fault(error))?;
        self.file = Some(self.open()?);
        let old = self.state.full.saturating_sub(self.settings.keep);
        for number in self.numbers()?.into_iter().filter(|number| *number <= old) {
            std::fs::remove_file(self.full(number)).map_err(|error| self.fault(error))?;
        }
        Ok(())
    }

    fn write(&mut self, text: &mut Vec<u8>) -> Result<()> {
        let written = match &mut self.file {
            Some(file) => file.write_all(text),
            None => Ok(()),
        };
        written.map_err(|error| self.fault(error))?;
        text.clear();
        Ok(())
    }
}

impl Sink for Predictions {
    fn name(&self) -> String {
        format!("predictions {}", self.settings.path.display())
    }

    fn takes_predictions(&self) -> bool {
        true
    }

    fn predictions(&mut self, rows: &[Prediction], classes: &[String]) -> Result<()> {
        let mut text = Vec::new();
        for row in rows {
            let Prediction { id, class, confidence, accepted, teacher_step, .. } = *row;
            let class = classes.get(class as usize).map_or("", String::as_str);
            let line = Line { id, class, confidence, accepted, teacher_step };
            let mut line =
                serde_json::to_vec(&line).map_err(|error| Error::file(&self.settings.path, error))?;
            line.push(b'\n');
            if self.state.bytes > 0 && self.state.bytes + line.len() as u64 > self.settings.max_bytes {
                self.write(&mut text)?;
                self.rotate()?;
            }
            self.state.bytes += line.len() as u64;
            text.extend(line);
        }
        self.write(&mut text)
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        if let Some(file) = &self.file {
            file.sync_data().map_err(|error| self.fault(error))?;
        }
        bincode::serialize(&self.state).map_err(|error| Error::Engine(error.to_string()))
    }

    /// Cuts off what was written later, also where the file has been moved aside since.
    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let damaged =
            |error| Error::file(&self.settings.path, format!("its saved state is damaged: {error}"));
        let then: State = bincode::deserialize(state).map_err(damaged)?;
        let mut later: Vec<u64> = self.numbers()?.into_iter().filter(|number| *number > then.full).collect();
        later.sort_unstable();
        if let Some(first) = later.first() {
            // The first of them was being written then, unless it is gone as well.
            std::fs::rename(self.full(*first), &self.settings.path).map_err(|error| self.fault(error))?;
        }
        for number in later.iter().skip(1) {
            std::fs::remove_file(self.full(*number)).map_err(|error| self.fault(error))?;
        }
        let file = self.open()?;
        let found = file.metadata().map_err(|error| self.fault(error))?.len();
        let was_there = later.first().is_none_or(|first| *first == then.full + 1);
        let bytes = if was_there { then.bytes.min(found) } else { 0 };
        if bytes < then.bytes {
            let path = self.settings.path.display();
            eprintln!("warning: {path} has lost predictions that were in it when the state was saved");
        }
        file.set_len(bytes).map_err(|error| self.fault(error))?;
        self.file = Some(file);
        self.state = State { full: then.full, bytes };
        Ok(())
    }
}
