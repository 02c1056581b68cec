//! Dead-letter file: keeps records that could not be decoded, one JSON object per record with the
//! reason.

use crate::remote;
use serde::{Deserialize, Serialize};
use sluicebox_core::config::document::shortened;
use sluicebox_core::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Maximum number of kinds of reasons with a count of their own.
const KINDS: usize = 15;
const OTHER: &str = "other";
/// Characters of a reason that a message repeats.
const MOST_TOLD: usize = 500;

/// Returns the reason with numbers and quoted text masked, so that reasons of one kind are equal.
fn kind(reason: &str) -> String {
    let mut kind = String::new();
    let mut quoted = false;
    for letter in reason.chars().take(200) {
        match letter {
            '`' | '"' if quoted => quoted = false,
            '`' | '"' => {
                quoted = true;
                kind.push('…');
            }
            _ if quoted => {}
            '0'..='9' if kind.ends_with('N') => {}
            '0'..='9' => kind.push('N'),
            letter => kind.push(letter),
        }
    }
    kind.chars().take(80).collect()
}

/// Appends bad records to a file and counts them.
pub struct DeadLetters {
    path: PathBuf,
    file: Option<File>,
    /// Whether bad records are counted only.
    counts_only: bool,
    state: State,
    resumed: bool,
    /// The last reason of each kind, of those that came since the start.
    examples: BTreeMap<String, String>,
}

/// Extent of the dead-letter file. A resumed run truncates the file to it, because later records
/// will come again; a new run appends.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Records in the file.
    pub count: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// Records by the kind of reason.
    pub reasons: BTreeMap<String, u64>,
}

impl DeadLetters {
    /// Creates dead letters in `path`; the file is created with the first one.
    pub fn new(path: PathBuf) -> Self {
        let (state, examples) = Default::default();
        Self { path, file: None, counts_only: false, state, resumed: false, examples }
    }

    /// Counts bad records, and writes nothing, if `counts_only`.
    pub fn counting(self, counts_only: bool) -> Self {
        Self { counts_only, ..self }
    }

    /// Returns the extent of the file.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Says where the bad records are.
    pub fn place(&self) -> String {
        match self.counts_only {
            true => "none of them is kept".into(),
            false => format!("they are in {}", self.path.display()),
        }
    }

    /// Returns the last reason of the kind that is commonest, and how many there are of that kind.
    pub fn commonest(&self) -> Option<(&str, u64)> {
        let (kind, count) = self.state.reasons.iter().max_by_key(|(_, count)| **count)?;
        Some((self.examples.get(kind).unwrap_or(kind), *count))
    }

    /// Restores `state`.
    pub fn restore(&mut self, state: State) -> Result<()> {
        self.file = None;
        self.resumed = state.count > 0;
        self.state = state;
        Ok(())
    }

    /// Writes a bad record of file `source` that begins in `line`.
    pub fn keep(&mut self, source: &Path, line: u64, reason: &str, record: &str) -> Result<()> {
        self.write(
            reason,
            &serde_json::json!({
                "source": source.display().to_string(),
                "line": line,
                "reason": reason,
                "record": record,
            }),
        )
    }

    /// Writes a bad message of a Kafka topic.
    pub fn keep_message(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        reason: &str,
        record: &str,
    ) -> Result<()> {
        self.write(
            reason,
            &serde_json::json!({
                "topic": topic,
                "partition": partition,
                "offset": offset,
                "reason": reason,
                "record": record,
            }),
        )
    }

    fn write(&mut self, reason: &str, letter: &serde_json::Value) -> Result<()> {
        if !self.counts_only {
            self.append(letter)?;
        }
        self.state.count += 1;
        let kind = kind(reason);
        let room = self.state.reasons.len() < KINDS || self.state.reasons.contains_key(&kind);
        let kind = if room { kind } else { OTHER.into() };
        self.examples.insert(kind.clone(), reason.chars().take(MOST_TOLD).collect());
        *self.state.reasons.entry(kind).or_default() += 1;
        Ok(())
    }

    fn append(&mut self, letter: &serde_json::Value) -> Result<()> {
        let fault = |error| Error::file(&self.path, format!("cannot keep a bad record: {error}"));
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                if remote::is_url(&self.path) {
                    let reason = "dead letters are kept in a file here; set source.dead_letter";
                    return Err(fault(std::io::Error::other(reason)));
                }
                if let Some(folder) = self.path.parent() {
                    std::fs::create_dir_all(folder).map_err(fault)?;
                }
                let mut options = OpenOptions::new();
                let file = options.create(true).append(true).open(&self.path).map_err(fault)?;
                match self.resumed {
                    true => file.set_len(self.state.bytes).map_err(fault)?,
                    false => self.state.bytes = file.metadata().map_err(fault)?.len(),
                }
                let first = letter["reason"].as_str().map(shortened).unwrap_or_default();
                tracing::warn!("bad records go to {}; the first: {first}", self.path.display());
                none.insert(file)
            }
        };
        let text = format!("{letter}\n");
        file.write_all(text.as_bytes()).map_err(fault)?;
        self.state.bytes += text.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_by_kind_and_bounded() {
        assert_eq!(kind("5 columns where 60 are wanted"), "N columns where N are wanted");
        assert_eq!(kind("unknown class `bat`: known are `cat`, `dog`"), "unknown class …: known are …, …");
        let folder = tempfile::tempdir().unwrap();
        let mut letters = DeadLetters::new(folder.path().join("letters"));
        for line in 0..100u8 {
            let reason = format!("no {}", char::from(b'A' + line % 26));
            letters.keep(Path::new("x"), 1, &reason, "record").unwrap();
        }
        let reasons = &letters.state().reasons;
        assert_eq!(reasons.len(), KINDS + 1);
        assert_eq!(reasons.values().sum::<u64>(), 100);
    }

    #[test]
    fn whoever_only_looks_counts_and_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters");
        std::fs::write(&path, "those of the job\n").unwrap();
        let mut letters = DeadLetters::new(path.clone()).counting(true);
        letters.restore(State { count: 1, bytes: 3, ..State::default() }).unwrap();
        letters.keep(Path::new("x"), 1, "bad", "record").unwrap();
        assert_eq!((letters.state().count, letters.place().as_str()), (2, "none of them is kept"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "those of the job\n");
    }
}
