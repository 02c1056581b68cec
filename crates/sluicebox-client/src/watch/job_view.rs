//! The data that `watch` reads, and the requests it sends, for a running job or a state folder.

use crate::watch::folder::Folder;
use crate::watch::remote::Remote;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::{About, Line, Progress, Report};
use sluicebox_observe::history::Point;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Address used by default.
pub const USUAL: &str = "127.0.0.1:7878";

/// Request to a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Stop cutting micro-batches into steps.
    Pause,
    /// Resume.
    Resume,
    /// Write a checkpoint after the next step.
    Checkpoint,
}

impl Command {
    /// Name in addresses and messages.
    pub fn name(self) -> &'static str {
        match self {
            Command::Pause => "pause",
            Command::Resume => "resume",
            Command::Checkpoint => "checkpoint",
        }
    }

    /// Start of the confirmation question.
    pub fn says(self) -> &'static str {
        match self {
            Command::Pause => "Pause",
            Command::Resume => "Go on with",
            Command::Checkpoint => "Write a checkpoint of",
        }
    }
}

/// Source of a job's data. One thread calls it and may block.
pub trait JobView: Send {
    /// Returns the job's description; a restart changes it.
    fn about(&mut self) -> Result<About>;

    /// Returns the job's progress; none for a state folder.
    fn progress(&mut self) -> Result<Option<Progress>>;

    /// Returns the first and the newest epoch with data.
    fn span(&mut self) -> Result<Option<(u64, u64)>>;

    /// Returns the report of an epoch, if it is still kept.
    fn report(&mut self, epoch: u64) -> Result<Option<Report>>;

    /// Returns at most `points` points that cover `epochs`, oldest first.
    fn series(&mut self, epochs: RangeInclusive<u64>, points: usize) -> Result<Vec<Point>>;

    /// Returns the newest lines of the log, oldest first.
    fn lines(&mut self) -> Result<Vec<Line>>;

    /// Sends a request to the job.
    fn wish(&mut self, wish: Command) -> Result<()>;

    /// Returns whether the job accepts requests.
    fn obeys(&self) -> bool;
}

/// The job to watch, as given on the command line.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// An address or a state folder.
    pub named: String,
    /// The token of the job's server.
    pub token: Option<String>,
    /// File (PEM) with certificates to trust instead of the default ones.
    pub authority: Option<PathBuf>,
}

impl Place {
    /// Opens the state folder or prepares a client of the address. Sends nothing to a server yet.
    pub fn open(&self) -> Result<Box<dyn JobView>> {
        let named = self.named.as_str();
        if Path::new(named).is_dir() {
            return Ok(Box::new(Folder::open(Path::new(named))?));
        }
        if !is_address(named) {
            let reason = format!(
                "`{named}` is neither a state folder that is there nor an address such as {USUAL} or \
                 https://host:7878"
            );
            return Err(Error::Request(reason));
        }
        Ok(Box::new(Remote::open(named, self.token.clone(), self.authority.as_deref())?))
    }
}

/// Returns whether `named` is `host:port` or has an HTTP scheme.
fn is_address(named: &str) -> bool {
    let plain = named.strip_prefix("http://").or(named.strip_prefix("https://"));
    plain.is_some_and(|rest| !rest.is_empty())
        || named.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_folders_are_told_apart() {
        for address in ["127.0.0.1:7878", "localhost:1", "[::1]:7878", "http://host", "https://host:1/"] {
            assert!(is_address(address), "{address}");
        }
        for other in ["state", "state/run:1", "host:", ":7878", "host:99999", "http://", "ftp://host"] {
            assert!(!is_address(other), "{other}");
        }
        let place = Place { named: "no/such/folder".into(), ..Place::default() };
        let error = place.open().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(
            error.contains("no/such/folder") && error.contains("state folder") && error.contains("address")
        );
    }
}
