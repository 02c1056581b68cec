//! Limit on a source's bad records: each goes to the dead-letter file, and the source fails once too many of the
//! newest [`WINDOW`] records are bad. The window begins anew when a job is resumed.

use crate::source::api::Context;
use crate::source::dead_letter::{DeadLetters, State};
use sluicebox_core::config::range::within;
use sluicebox_core::error::{Error, Result};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Number of newest records over which the fraction of bad ones is computed.
pub const WINDOW: u64 = 1000;
/// Bad records in a window that end no job, unless no record may be bad: a few among the first say little.
const FORGIVEN: u64 = 3;

/// The default of `max_bad`.
pub fn one_percent() -> f64 {
    0.01
}

/// Returns whether `max_bad` is the default.
pub fn is_one_percent(max_bad: &f64) -> bool {
    *max_bad == one_percent()
}

/// Returns the fault of option `max_bad`, if it is out of range.
pub fn faults(max_bad: f64) -> Option<(&'static str, String)> {
    let mut faults = Vec::new();
    within(&mut faults, "max_bad", max_bad, 0.0..=1.0);
    faults.pop()
}

/// Bad records among the newest.
#[derive(Debug, Default)]
pub struct Window {
    /// Their numbers.
    newest: VecDeque<u64>,
}

impl Window {
    /// Adds a bad record, the last of `read` records. Returns how many of the newest are bad, and of how many, if
    /// that is more than a fraction `max_bad` allows.
    pub fn add(&mut self, read: u64, max_bad: f64) -> Option<(u64, u64)> {
        if self.newest.back().is_some_and(|last| *last > read) {
            self.newest.clear(); // the file is read again from its start
        }
        self.newest.push_back(read);
        let left = read.saturating_sub(WINDOW);
        while self.newest.front().is_some_and(|number| *number <= left) {
            self.newest.pop_front();
        }
        let (bad, of) = (self.newest.len() as u64, read.min(WINDOW));
        let forgiven = if max_bad > 0.0 { FORGIVEN } else { 0 };
        (bad > forgiven && bad as f64 > max_bad * of as f64).then_some((bad, of))
    }
}

/// Says that too many of the newest records are bad.
pub fn too_many((bad, of): (u64, u64), max_bad: f64, letters: &DeadLetters) -> String {
    let newest = if of == WINDOW { " newest" } else { "" };
    let commonest = letters.commonest();
    let commonest = commonest.map_or(String::new(), |(reason, count)| format!("; {count} times: {reason}"));
    format!(
        "{bad} of {of}{newest} records are bad, more than source.max_bad = {max_bad} allows{commonest}; {}",
        letters.place()
    )
}

/// Bad records of a source and their limit.
pub struct BadRecords {
    max_bad: f64,
    letters: DeadLetters,
    window: Window,
}

impl BadRecords {
    /// Allows a fraction `max_bad` of bad records. They are written to `dead_letter`, by default
    /// `dead-letter.jsonl` in the state folder or the current one.
    pub fn new(max_bad: f64, dead_letter: Option<PathBuf>, context: &Context) -> Self {
        let default = || context.dead_letters();
        let letters = DeadLetters::new(dead_letter.unwrap_or_else(default)).counting(context.is_look);
        Self { max_bad, letters, window: Window::default() }
    }

    /// Writes the bad record of `path` that begins in `line`, the last of `read` records. Fails if
    /// too many were bad.
    pub fn add(&mut self, path: &Path, line: u64, reason: &str, record: &str, read: u64) -> Result<()> {
        self.letters.keep(path, line, reason, record)?;
        match self.window.add(read, self.max_bad) {
            None => Ok(()),
            Some(found) => Err(self.too_many(path, found)),
        }
    }

    /// Fails if all of the `read` records of a stream that is over were bad.
    pub fn check_all(&self, path: &Path, read: u64) -> Result<()> {
        let bad = self.count();
        match bad < read || read == 0 || self.max_bad >= 1.0 {
            true => Ok(()),
            false => Err(self.too_many(path, (bad, read))),
        }
    }

    fn too_many(&self, path: &Path, found: (u64, u64)) -> Error {
        Error::file(path, too_many(found, self.max_bad, &self.letters))
    }

    /// Returns the number of bad records so far.
    pub fn count(&self) -> u64 {
        self.letters.state().count
    }

    /// Returns the extent of the dead-letter file.
    pub fn state(&self) -> State {
        self.letters.state().clone()
    }

    /// Returns the number of bad records so far by kind of reason.
    pub fn reasons(&self) -> Vec<(String, u64)> {
        self.letters.state().reasons.clone().into_iter().collect()
    }

    /// Restores `state`.
    pub fn restore(&mut self, state: State) -> Result<()> {
        self.window = Window::default();
        self.letters.restore(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns after how many records the source fails, of which those in `bad` are bad.
    fn fails_at(max_bad: f64, bad: impl Fn(u64) -> bool) -> Option<(u64, String)> {
        let folder = tempfile::tempdir().unwrap();
        let mut records = BadRecords::new(max_bad, Some(folder.path().join("letters")), &Context::default());
        let numbers = (1..=100_000u64).filter(|number| bad(*number));
        numbers.into_iter().find_map(|number| {
            let fails = records.add(Path::new("file"), number, &format!("`{number}` is odd"), "", number);
            fails.err().map(|error| (number, error.to_string()))
        })
    }

    #[test]
    fn the_newest_records_decide() {
        assert_eq!(fails_at(0.01, |number| [3, 150, 199].contains(&number)), None, "a few early ones");
        assert_eq!(fails_at(0.01, |number| number % 100 == 0), None, "as many as are allowed, for ever");
        assert_eq!(fails_at(0.01, |number| number % 50 == 0).map(|(at, _)| at), Some(200));
        let (late, message) = fails_at(0.01, |number| number > 90_000).unwrap();
        assert_eq!(late, 90_011, "however many good ones came before");
        for part in ["11 of 1000 newest records are bad", "11 times: `90011` is odd", "letters"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(fails_at(0.0, |number| number == 5000).map(|(at, _)| at), Some(5000));
        assert_eq!(fails_at(1.0, |_| true), None);
    }

    #[test]
    fn a_stream_without_a_good_record_fails_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut records = BadRecords::new(0.01, Some(folder.path().join("letters")), &Context::default());
        records.add(Path::new("file"), 1, "no", "", 1).unwrap();
        assert!(records.check_all(Path::new("file"), 2).is_ok());
        assert!(records.check_all(Path::new("file"), 1).unwrap_err().to_string().contains("1 of 1 records"));
    }
}
