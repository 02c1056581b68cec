//! Where facts come from: what a running job or a state folder is asked, and what for.

use super::{folder::Folder, remote::Remote};
use crate::error::{Error, Result};
use crate::history::Point;
use crate::report::{About, Line, Progress, Report};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Where a job is looked at unless told otherwise.
pub const USUAL: &str = "127.0.0.1:7878";

/// What may be asked of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Cut no more steps.
    Pause,
    /// Go on.
    Resume,
    /// Write a checkpoint after the next step.
    Checkpoint,
}

impl Wish {
    /// Its name in addresses and questions.
    pub fn name(self) -> &'static str {
        match self {
            Wish::Pause => "pause",
            Wish::Resume => "resume",
            Wish::Checkpoint => "checkpoint",
        }
    }

    /// How the question begins whether it is meant.
    pub fn says(self) -> &'static str {
        match self {
            Wish::Pause => "Pause",
            Wish::Resume => "Go on with",
            Wish::Checkpoint => "Write a checkpoint of",
        }
    }
}

/// What a job is asked. Called by one thread, which may wait for answers.
pub trait Facts: Send {
    /// What the job is now: it may have been started again.
    fn about(&mut self) -> Result<About>;

    /// How far the job is now; none where only what it wrote is known.
    fn progress(&mut self) -> Result<Option<Progress>>;

    /// The first and the newest epoch of which anything is known.
    fn span(&mut self) -> Result<Option<(u64, u64)>>;

    /// The report of an epoch, if it is still kept.
    fn report(&mut self, epoch: u64) -> Result<Option<Report>>;

    /// At most `points` points that cover `epochs`, the oldest first.
    fn series(&mut self, epochs: RangeInclusive<u64>, points: usize) -> Result<Vec<Point>>;

    /// The newest lines of the log, the oldest first.
    fn lines(&mut self) -> Result<Vec<Line>>;

    /// Asks for something to be done.
    fn wish(&mut self, wish: Wish) -> Result<()>;

    /// Whether anything can be wished for.
    fn obeys(&self) -> bool;
}

/// Where to look, as it was said.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// An address or a state folder.
    pub named: String,
    /// The token of the job's server.
    pub token: Option<String>,
    /// File (PEM) with certificates to trust instead of the usual ones.
    pub authority: Option<PathBuf>,
}

impl Place {
    /// Opens what was named. Nothing has been asked of a server yet.
    pub fn open(&self) -> Result<Box<dyn Facts>> {
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

/// `host:port`, or with a scheme.
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
