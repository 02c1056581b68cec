//! How many bad records a source puts up with: each goes to the dead-letter file, until they
//! are too large a part of what was read.

use super::Context;
use super::dead_letter::{DeadLetters, State};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Fewer records than this say nothing about the part that is bad.
const FAIR_SAMPLE: u64 = 100;

/// The default of `max_bad`.
pub fn one_percent() -> f64 {
    0.01
}

/// What is wrong with the option `max_bad`.
pub fn faults(max_bad: f64) -> Option<(&'static str, String)> {
    let fits = (0.0..=1.0).contains(&max_bad);
    (!fits).then(|| ("max_bad", format!("{max_bad} is not from 0 to 1")))
}

/// The bad records of a source.
pub struct Tolerance {
    max_bad: f64,
    letters: DeadLetters,
}

impl Tolerance {
    /// Puts up with a part of `max_bad`. Letters go to `dead_letter`, by default
    /// `dead-letter.jsonl` in the state folder or here.
    pub fn new(max_bad: f64, dead_letter: Option<PathBuf>, context: &Context) -> Self {
        let default = || context.dead_letters();
        Self { max_bad, letters: DeadLetters::new(dead_letter.unwrap_or_else(default)) }
    }

    /// Keeps the bad record of `path` that begins in `line`, the last of `read` records. Fails
    /// where too many were bad.
    pub fn refuse(&mut self, path: &Path, line: u64, reason: &str, record: &str, read: u64) -> Result<()> {
        self.letters.keep(path, line, reason, record)?;
        self.judge(path, read, FAIR_SAMPLE)
    }

    /// Fails where too many of all `read` records of a file that has ended were bad.
    pub fn judge_all(&self, path: &Path, read: u64) -> Result<()> {
        self.judge(path, read, 0)
    }

    fn judge(&self, path: &Path, read: u64, least: u64) -> Result<()> {
        let bad = self.letters.state().count;
        if bad as f64 <= self.max_bad * read.max(least) as f64 {
            return Ok(());
        }
        let most = self.max_bad;
        let reason = format!("{bad} of {read} records are bad, more than source.max_bad = {most} allows");
        Err(Error::file(path, reason))
    }

    /// Bad records so far.
    pub fn count(&self) -> u64 {
        self.letters.state().count
    }

    /// How far the file is written.
    pub fn state(&self) -> State {
        self.letters.state().clone()
    }

    /// Bad records so far by the kind of reason.
    pub fn reasons(&self) -> Vec<(String, u64)> {
        self.letters.state().reasons.clone().into_iter().collect()
    }

    /// Goes back to `state`.
    pub fn restore(&mut self, state: State) -> Result<()> {
        self.letters.restore(state)
    }
}
