//! The teacher's predictions in files, one JSON object per streamed sample, in stream order. A full
//! file is renamed to `PATH.1`, `PATH.2`, …, and the oldest are deleted. Checkpoints store the
//! extent of the files: a resumed job continues from there, and a new job starts the files again,
//! so that each sample is in them once.

use crate::sink::Sink;
use crate::sink::patience::Patience;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::controls::Controls;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::fs::append;
use sluicebox_core::state::{Stateful, decode, encode};
use sluicebox_core::step::Prediction;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// Options of the sink.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Size at which a file is full, in bytes.
    #[serde(default = "max_bytes")]
    pub max_bytes: u64,
    /// Number of full files to keep.
    #[serde(default = "keep")]
    pub keep: u64,
}

fn max_bytes() -> u64 {
    256 << 20
}

fn keep() -> u64 {
    8
}

impl sluicebox_core::config::document::Settings for Settings {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.max_bytes < 4096 {
            faults.push(("max_bytes", format!("{} is too few: it must be 4096 or more", self.max_bytes)));
        }
        faults
    }
}

struct Predictions {
    files: Files,
    /// None until something is written or restored.
    file: Option<File>,
    state: State,
    patience: Patience,
}

/// Extent of the files.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct State {
    /// Number of the newest full file; 0: none.
    full: u64,
    /// Bytes in the file that is being written.
    bytes: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    id: u64,
    class: &'a str,
    confidence: f32,
    pseudo_label: &'a str,
    accepted: bool,
    teacher_step: u64,
}

/// Returns a sample's line, without the line break.
pub fn json(row: &Prediction, classes: &[String]) -> serde_json::Result<Vec<u8>> {
    let Prediction { id, class, confidence, pseudo_label, accepted, teacher_step, .. } = *row;
    let name = |class: u32| classes.get(class as usize).map_or("", String::as_str);
    let (class, pseudo_label) = (name(class), name(pseudo_label));
    serde_json::to_vec(&Line { id, class, confidence, pseudo_label, accepted, teacher_step })
}

/// Creates the folder, and checks that the file can be written.
pub fn build(spec: &Spec) -> Result<Box<dyn Sink>> {
    let files = Files(settings(spec)?);
    std::fs::create_dir_all(files.folder()).map_err(|error| files.fault(error))?;
    files.open()?;
    Ok(Box::new(Predictions { files, file: None, state: State::default(), patience: Patience::default() }))
}

/// Paths of the files.
struct Files(Settings);

impl Files {
    fn fault(&self, error: std::io::Error) -> Error {
        Error::file(&self.0.path, format!("cannot write predictions: {error}"))
    }

    fn folder(&self) -> &Path {
        let parent = self.0.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    /// Opens the file that is being written; returns it with its size in bytes.
    fn open(&self) -> Result<(File, u64)> {
        self.append().map_err(|error| self.fault(error))
    }

    fn append(&self) -> std::io::Result<(File, u64)> {
        let file = OpenOptions::new().create(true).append(true).open(&self.0.path)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    /// Returns the path of a full file.
    fn full(&self, number: u64) -> PathBuf {
        let mut name = self.0.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Returns the numbers of all full files.
    fn numbers(&self) -> Result<Vec<u64>> {
        let stem = self.0.path.file_name().unwrap_or_default().to_string_lossy();
        let number = |name: String| name.strip_prefix(&*stem)?.strip_prefix('.')?.parse().ok();
        let entries = std::fs::read_dir(self.folder()).map_err(|error| self.fault(error))?;
        Ok(entries.flatten().filter_map(|entry| number(entry.file_name().into_string().ok()?)).collect())
    }

    fn remove(&self, number: u64) -> Result<()> {
        std::fs::remove_file(self.full(number)).map_err(|error| self.fault(error))
    }

    /// Truncates the files to extent `then`, even if the file that was being written has been
    /// renamed since. Returns that file and its remaining bytes.
    fn go_back(&self, then: State) -> Result<(File, u64)> {
        let path = &self.0.path;
        let (written, mut later) = (then.full + 1, self.numbers()?);
        later.retain(|number| *number > then.full);
        if later.contains(&written) {
            // This was the file being written.
            std::fs::rename(self.full(written), path).map_err(|error| self.fault(error))?;
            later.retain(|number| *number != written);
        } else if !later.is_empty() {
            // It was deleted like other old full files; all remaining ones were written later.
            std::fs::remove_file(path).map_err(|error| self.fault(error))?;
        }
        later.into_iter().try_for_each(|number| self.remove(number))?;
        let (file, found) = self.open()?;
        let bytes = then.bytes.min(found);
        file.set_len(bytes).map_err(|error| self.fault(error))?;
        Ok((file, bytes))
    }
}

impl Predictions {
    /// Returns the owner of the saved extent, for messages.
    fn owner(&self) -> String {
        format!("the predictions in {}", self.files.0.path.display())
    }

    /// Renames the full file and deletes the oldest ones.
    fn rotate(&mut self) -> Result<()> {
        let full = self.state.full + 1;
        let path = &self.files.0.path;
        let what = path.display().to_string();
        let rename = || std::fs::rename(path, self.files.full(full));
        self.patience.write(&what, rename).map_err(|error| self.files.fault(error))?;
        let opened = self.patience.write(&what, || self.files.append());
        let (file, bytes) = opened.map_err(|error| self.files.fault(error))?;
        self.file = Some(file);
        self.state = State { full, bytes };
        let numbers = self.files.numbers()?.into_iter();
        let mut old = numbers.filter(|number| number.saturating_add(self.files.0.keep) <= full);
        old.try_for_each(|number| self.files.remove(number))
    }

    fn write(&mut self, text: &mut Vec<u8>) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.files.go_back(State::default())?.0),
        };
        let what = self.files.0.path.display().to_string();
        let written = self.patience.write(&what, || append(file, text));
        written.map_err(|error| self.files.fault(error))?;
        text.clear();
        Ok(())
    }
}

impl Stateful for Predictions {
    fn save(&self) -> Result<Vec<u8>> {
        if let Some(file) = &self.file {
            file.sync_data().map_err(|error| self.files.fault(error))?;
        }
        encode(&self.owner(), &self.state)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let path = &self.files.0.path;
        let then: State = decode(&self.owner(), state)?;
        let (file, bytes) = self.files.go_back(then)?;
        if bytes < then.bytes {
            let lost = then.bytes - bytes;
            tracing::warn!("{} has lost {lost} bytes since the state was saved", path.display());
        }
        self.file = Some(file);
        self.state = State { full: then.full, bytes };
        Ok(())
    }
}

impl Sink for Predictions {
    fn name(&self) -> String {
        format!("predictions {}", self.files.0.path.display())
    }

    fn watch(&mut self, controls: &Controls) {
        self.patience.controls = controls.clone();
    }

    fn predictions(&mut self, rows: &[Prediction], classes: &[String]) -> Result<()> {
        let mut text = Vec::new();
        for row in rows {
            let line = json(row, classes).map_err(|error| Error::file(&self.files.0.path, error))?;
            let bytes = line.len() as u64 + 1;
            if self.state.bytes > 0 && self.state.bytes + bytes > self.files.0.max_bytes {
                self.write(&mut text)?;
                self.rotate()?;
            }
            text.extend(line);
            text.push(b'\n');
            self.state.bytes += bytes;
        }
        self.write(&mut text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(path: &Path) -> Box<dyn Sink> {
        let mut options = toml::Table::new();
        options.insert("path".into(), path.display().to_string().into());
        options.insert("max_bytes".into(), 4096.into());
        options.insert("keep".into(), 3.into());
        build(&Spec { kind: "predictions".into(), options }).unwrap()
    }

    fn tell(sink: &mut dyn Sink, ids: std::ops::Range<u64>) {
        let row = |id| Prediction {
            id,
            class: (id % 2) as u32,
            confidence: 0.5,
            pseudo_label: 1,
            pseudo_label_confidence: 0.75,
            accepted: true,
            confident: false,
            teacher_step: 7,
        };
        let rows: Vec<Prediction> = ids.map(row).collect();
        sink.predictions(&rows, &["even".into(), "odd".into()]).unwrap();
    }

    /// Returns the texts of the files in order, and the ids in them.
    fn contents(path: &Path) -> (Vec<String>, Vec<u64>) {
        let files = Files(Settings { path: path.to_path_buf(), max_bytes: 4096, keep: 3 });
        let mut numbers = files.numbers().unwrap();
        numbers.sort();
        let full = numbers.into_iter().map(|number| files.full(number));
        let texts: Vec<String> =
            full.chain([path.into()]).map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let id =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_u64().unwrap();
        let ids = texts.iter().flat_map(|text| text.lines().map(id)).collect();
        (texts, ids)
    }

    #[test]
    fn each_sample_is_a_line_and_old_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/predictions.ndjson");
        let mut sink = sink(&path);
        tell(&mut *sink, 0..2);
        let (texts, _) = contents(&path);
        let first = r#"{"id":0,"class":"even","confidence":0.5,"pseudo_label":"odd","accepted":true,"teacher_step":7}"#;
        assert_eq!(texts[0].lines().next(), Some(first));
        tell(&mut *sink, 2..500);
        let (texts, ids) = contents(&path);
        assert_eq!(texts.len(), 4);
        assert!(texts.iter().all(|text| text.len() <= 4096 && text.ends_with('\n')));
        assert_eq!(ids, (ids[0]..500).collect::<Vec<u64>>());
        assert!(ids[0] > 0);
    }

    #[test]
    fn a_restored_sink_has_each_sample_once() {
        // Further lines fill less than one file, one, three, and more files than are kept.
        for further in [10, 60, 150, 600] {
            let folder = tempfile::tempdir().unwrap();
            let (path, whole_path) = (folder.path().join("predictions"), folder.path().join("whole"));
            let mut whole = sink(&whole_path);
            tell(&mut *whole, 0..130 + 700);
            let mut first = sink(&path);
            tell(&mut *first, 0..130);
            let state = first.save().unwrap();
            tell(&mut *first, 130..130 + further);
            drop(first);
            let mut second = sink(&path);
            second.load(&state).unwrap();
            tell(&mut *second, 130..130 + 700);
            let ((texts, ids), (whole_texts, _)) = (contents(&path), contents(&whole_path));
            assert!(ids.iter().copied().eq(ids[0]..830), "{further}: {ids:?}");
            // If the file that was being written is gone, later files fill up at other places.
            assert!(texts == whole_texts || further == 600, "{further}");
        }
    }

    #[test]
    fn a_job_that_begins_anew_begins_the_files_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions");
        tell(&mut *sink(&path), 0..300);
        tell(&mut *sink(&path), 0..20);
        assert_eq!(contents(&path).1, (0..20).collect::<Vec<u64>>());
        std::fs::create_dir(folder.path().join("taken")).unwrap();
        let mut options = toml::Table::new();
        options.insert("path".into(), folder.path().join("taken").display().to_string().into());
        let error = build(&Spec { kind: "predictions".into(), options }).err().unwrap();
        assert!(error.to_string().contains("cannot write predictions"), "{error}");
    }
}
