//! Limit on a source's bad records: each goes to the dead-letter file, and the source fails once
//! they exceed a fraction of the records read.

use crate::source::api::Context;
use crate::source::dead_letter::{DeadLetters, State};
use sluicebox_core::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Minimum number of records over which the fraction of bad ones is computed.
pub const FAIR_SAMPLE: u64 = 100;

/// The default of `max_bad`.
pub fn one_percent() -> f64 {
    0.01
}

/// Returns the fault of option `max_bad`, if it is out of range.
pub fn faults(max_bad: f64) -> Option<(&'static str, String)> {
    let fits = (0.0..=1.0).contains(&max_bad);
    (!fits).then(|| ("max_bad", format!("{max_bad} is not from 0 to 1")))
}

/// Bad records of a source and their limit.
pub struct BadRecords {
    max_bad: f64,
    letters: DeadLetters,
}

impl BadRecords {
    /// Allows a fraction `max_bad` of bad records. They are written to `dead_letter`, by default
    /// `dead-letter.jsonl` in the state folder or the current one.
    pub fn new(max_bad: f64, dead_letter: Option<PathBuf>, context: &Context) -> Self {
        let default = || context.dead_letters();
        Self { max_bad, letters: DeadLetters::new(dead_letter.unwrap_or_else(default)) }
    }

    /// Writes the bad record of `path` that begins in `line`, the last of `read` records. Fails if
    /// too many were bad.
    pub fn add(&mut self, path: &Path, line: u64, reason: &str, record: &str, read: u64) -> Result<()> {
        self.letters.keep(path, line, reason, record)?;
        self.check(path, read, FAIR_SAMPLE)
    }

    /// Fails if too many of all `read` records of a completed file were bad.
    pub fn check_all(&self, path: &Path, read: u64) -> Result<()> {
        self.check(path, read, 0)
    }

    fn check(&self, path: &Path, read: u64, least: u64) -> Result<()> {
        let bad = self.letters.state().count;
        if bad as f64 <= self.max_bad * read.max(least) as f64 {
            return Ok(());
        }
        let most = self.max_bad;
        let reason = format!("{bad} of {read} records are bad, more than source.max_bad = {most} allows");
        Err(Error::file(path, reason))
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
        self.letters.restore(state)
    }
}
