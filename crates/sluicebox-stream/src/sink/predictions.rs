//! The teacher's predictions in files, one JSON object per streamed sample, in stream order. A full
//! file is renamed to `PATH.1`, `PATH.2`, …, and the oldest are deleted. Checkpoints store the
//! extent of the files: a resumed job continues from there, so that each sample is in them once. Files
//! with lines that are not of this state are renamed to `PATH.aside-1`, `PATH.aside-2`, …

use crate::sink::Sink;
use crate::sink::patience::Patience;
use crate::sink::rolled_files::{Extent, RolledFiles, last_lines};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::registry::{Spec, settings};
use sluicebox_core::controls::Controls;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::fs::append;
use sluicebox_core::sample_id::SampleId;
use sluicebox_core::state::{Stateful, decode, encode};
use sluicebox_core::step::Prediction;
use std::fs::File;
use std::path::PathBuf;

/// Options of the sink.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
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

/// Bytes of a saved extent.
const EXTENT_BYTES: usize = 16;

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
    files: RolledFiles,
    /// Size at which a file is full, in bytes.
    max_bytes: u64,
    /// Number of full files to keep.
    keep: u64,
    /// None until it is begun or restored.
    file: Option<File>,
    state: Extent,
    patience: Patience,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a SampleId,
    class: &'a str,
    confidence: f32,
    pseudo_label: &'a str,
    accepted: bool,
    teacher_step: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks_agree: Option<bool>,
}

/// Returns a sample's line, without the line break.
pub fn json(row: &Prediction, classes: &[String]) -> serde_json::Result<Vec<u8>> {
    let Prediction {
        ref id, class, confidence, pseudo_label, accepted, teacher_step, networks_agree, ..
    } = *row;
    let name = |class: u32| classes.get(class as usize).map_or("", String::as_str);
    let (class, pseudo_label) = (name(class), name(pseudo_label));
    serde_json::to_vec(&Line { id, class, confidence, pseudo_label, accepted, teacher_step, networks_agree })
}

/// Creates the folder, and checks that the file can be written.
pub fn build(spec: &Spec) -> Result<Box<dyn Sink>> {
    let Settings { path, max_bytes, keep } = settings(spec)?;
    let files = RolledFiles { path };
    std::fs::create_dir_all(files.folder()).map_err(|error| files.fault(error))?;
    files.open()?;
    let (file, state, patience) = (None, Extent::default(), Patience::default());
    Ok(Box::new(Predictions { files, max_bytes, keep, file, state, patience }))
}

impl Predictions {
    /// Returns the owner of the saved extent, for messages.
    fn owner(&self) -> String {
        format!("the predictions in {}", self.files.path.display())
    }

    /// Renames the full file and deletes the oldest ones.
    fn rotate(&mut self) -> Result<()> {
        let full = self.state.full + 1;
        let path = &self.files.path;
        let what = path.display().to_string();
        let rename = || std::fs::rename(path, self.files.full(full));
        self.patience.write(&what, rename).map_err(|error| self.files.fault(error))?;
        let opened = self.patience.write(&what, || self.files.append());
        let (file, bytes) = opened.map_err(|error| self.files.fault(error))?;
        self.file = Some(file);
        self.state = Extent { full, bytes };
        let numbers = self.files.numbers()?.into_iter();
        let mut old = numbers.filter(|number| number.saturating_add(self.keep) <= full);
        old.try_for_each(|number| self.files.remove(number))
    }

    fn write(&mut self, text: &mut Vec<u8>) -> Result<()> {
        if self.file.is_none() {
            self.begin(false)?;
        }
        if let Some(file) = &mut self.file {
            let what = self.files.path.display().to_string();
            let written = self.patience.write(&what, || append(file, text));
            written.map_err(|error| self.files.fault(error))?;
        }
        text.clear();
        Ok(())
    }
}

impl Stateful for Predictions {
    fn save(&self) -> Result<Vec<u8>> {
        let mut last = None;
        if let Some(file) = &self.file {
            file.sync_data().map_err(|error| self.files.fault(error))?;
            last = last_lines(file, self.state.bytes);
        }
        encode(&self.owner(), &(self.state, last))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        let path = &self.files.path;
        let mut then: Extent = decode(&self.owner(), state)?;
        // A checkpoint of an earlier Sluicebox has the extent only.
        let last = match state.len() > EXTENT_BYTES {
            true => decode::<(Extent, Option<u32>)>(&self.owner(), state)?.1,
            false => None,
        };
        if !self.files.goes_on(then, last)? {
            self.files.set_aside()?;
            then.bytes = 0;
        }
        let (file, bytes) = self.files.go_back(then)?;
        if bytes < then.bytes {
            let lost = then.bytes - bytes;
            tracing::warn!("{} has lost {lost} bytes since the state was saved", path.display());
        }
        self.file = Some(file);
        self.state = Extent { full: then.full, bytes };
        Ok(())
    }
}

impl Sink for Predictions {
    fn begin(&mut self, is_own: bool) -> Result<()> {
        if !is_own {
            self.files.set_aside()?;
        }
        self.file = Some(self.files.go_back(Extent::default())?.0);
        Ok(())
    }

    fn name(&self) -> String {
        format!("predictions {}", self.files.path.display())
    }

    fn watch(&mut self, controls: &Controls) {
        self.patience.controls = controls.clone();
    }

    fn predictions(&mut self, rows: &[Prediction], classes: &[String]) -> Result<()> {
        let mut text = Vec::new();
        for row in rows {
            let line = json(row, classes).map_err(|error| Error::file(&self.files.path, error))?;
            let bytes = line.len() as u64 + 1;
            if self.state.bytes > 0 && self.state.bytes + bytes > self.max_bytes {
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
    use std::path::Path;

    fn sink(path: &Path) -> Box<dyn Sink> {
        let mut options = toml::Table::new();
        options.insert("path".into(), path.display().to_string().into());
        options.insert("max_bytes".into(), 4096.into());
        options.insert("keep".into(), 3.into());
        build(&Spec { kind: "predictions".into(), options }).unwrap()
    }

    fn tell(sink: &mut dyn Sink, ids: std::ops::Range<u64>) {
        let row = |id| Prediction {
            id: SampleId::of_key(id),
            class: (id % 2) as u32,
            confidence: 0.5,
            pseudo_label: 1,
            pseudo_label_confidence: 0.75,
            accepted: true,
            confident: false,
            networks_agree: None,
            teacher_step: 7,
        };
        let rows: Vec<Prediction> = ids.map(row).collect();
        sink.predictions(&rows, &["even".into(), "odd".into()]).unwrap();
    }

    /// Returns the texts of the files in order, and the ids in them.
    fn contents(path: &Path) -> (Vec<String>, Vec<u64>) {
        let files = RolledFiles { path: path.to_path_buf() };
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
    fn what_is_not_of_the_state_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions");
        let aside = |count: u64| folder.path().join(format!("predictions.aside-{count}"));
        tell(&mut *sink(&path), 0..300);
        let before = contents(&path);
        assert!(before.0.len() > 2, "several files");
        tell(&mut *sink(&path), 0..20);
        assert_eq!(contents(&path).1, (0..20).collect::<Vec<u64>>());
        assert_eq!(contents(&aside(1)), before);
        // A job that has no checkpoint yet, and was killed: its lines come again.
        let mut own = sink(&path);
        own.begin(true).unwrap();
        tell(&mut *own, 0..60);
        let state = own.save().unwrap();
        tell(&mut *own, 60..100);
        assert_eq!(contents(&path).1.len(), 100);
        assert!(!aside(2).exists());
        // Another job takes the path; the first comes back to it.
        let mut other = sink(&path);
        other.begin(false).unwrap();
        tell(&mut *other, 500..540);
        let (own, others) = (contents(&aside(2)), contents(&path));
        assert_eq!(own.1, (0..100).collect::<Vec<u64>>());
        let mut first = sink(&path);
        first.load(&state).unwrap();
        assert!(contents(&path).1.is_empty());
        tell(&mut *first, 60..90);
        assert_eq!(contents(&path).1, (60..90).collect::<Vec<u64>>());
        assert_eq!(contents(&aside(3)), others);
    }

    #[test]
    fn an_extent_of_an_earlier_build_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions");
        let mut first = sink(&path);
        tell(&mut *first, 0..30);
        let mut state = first.save().unwrap();
        tell(&mut *first, 30..40);
        state.truncate(EXTENT_BYTES);
        let mut second = sink(&path);
        second.load(&state).unwrap();
        assert_eq!(contents(&path).1, (0..30).collect::<Vec<u64>>());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("taken")).unwrap();
        let mut options = toml::Table::new();
        options.insert("path".into(), folder.path().join("taken").display().to_string().into());
        let error = build(&Spec { kind: "predictions".into(), options }).err().unwrap();
        assert!(error.to_string().contains("cannot write predictions"), "{error}");
    }
}
