//! Reads a running job's server by polling: the data is at most one poll old, and there is no
//! stream to keep alive.

use crate::http::{Client, HttpReply};
use crate::watch::job_view::{Command, JobView};
use serde::de::DeserializeOwned;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::{About, Line, Mark, Progress, Report};
use sluicebox_observe::history::Point;
use sluicebox_observe::verdict::Verdict;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

/// Timeout of a request.
const PATIENCE: Duration = Duration::from_secs(5);

/// A job's server.
pub struct Remote {
    client: Client,
    started_ms: u64,
    progress: Progress,
    /// The first epoch with data.
    first: Option<u64>,
    newest: Option<Report>,
}

impl Remote {
    /// Creates a client of the server at `address`.
    pub fn open(address: &str, token: Option<String>, authority: Option<&Path>) -> Result<Self> {
        let client = Client::new(address, token, authority, PATIENCE)?;
        Ok(Self { client, started_ms: 0, progress: Progress::default(), first: None, newest: None })
    }

    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.client.get(path).map_err(|error| self.unreachable(&error))?;
        if !answer.status.is_success() {
            return Err(self.refused(path, &answer));
        }
        serde_json::from_str(&answer.text).map_err(|error| {
            let address = self.client.address();
            Error::Connection(format!(
                "{address} is not a Sluicebox job, or has another version: {path}: {error}"
            ))
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> Error {
        let address = self.client.address();
        let reason = match error {
            ureq::Error::Io(_) | ureq::Error::ConnectionFailed => {
                "no job listens there: start one with `sluicebox run --listen`, or name another address or a state folder"
            }
            ureq::Error::Timeout(_) => "a program listens there but does not answer",
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => {
                "if the server uses TLS with its own certificate, name that with `--ca` and begin the address with https://"
            }
            _ => "this is not a Sluicebox job",
        };
        let gone = matches!(error, ureq::Error::Io(_) | ureq::Error::ConnectionFailed);
        let what = if gone { String::new() } else { format!("{error}: ") };
        Error::Connection(format!("{address}: {what}{reason}"))
    }

    fn refused(&self, path: &str, answer: &HttpReply) -> Error {
        let (address, reason) = (self.client.address(), answer.reason());
        Error::Connection(match answer.status.as_u16() {
            401 => format!("{address}: {reason}: set it with --token-file or SLUICEBOX_TOKEN"),
            404 | 405 => {
                format!("{address} is not a Sluicebox job, or has another version: it has no {path}")
            }
            _ => format!("{address}: {path}: {reason}"),
        })
    }
}

impl JobView for Remote {
    fn about(&mut self) -> Result<About> {
        let about: About = self.ask("/about.json")?;
        if about.version.is_empty() {
            let address = self.client.address();
            return Err(Error::Connection(format!("{address} is not a Sluicebox job")));
        }
        if self.started_ms != about.started_ms {
            (self.first, self.newest, self.started_ms) = (None, None, about.started_ms);
        }
        Ok(about)
    }

    fn progress(&mut self) -> Result<Option<Progress>> {
        self.progress = self.ask("/progress.json")?;
        Ok(Some(self.progress))
    }

    /// Requests the newest report only where the progress says that there is a newer one.
    fn span(&mut self) -> Result<Option<(u64, u64)>> {
        let known = self.newest.as_ref().map_or(0, |report| report.epoch);
        let complete =
            if self.progress.over { self.progress.epoch } else { self.progress.epoch.saturating_sub(1) };
        if known == 0 || known < complete {
            self.newest = self.ask("/report.json")?;
        }
        let Some(newest) = &self.newest else { return Ok(None) };
        if self.first.is_none() {
            let points: Vec<Point> = self.ask("/history.json?points=1")?;
            self.first = points.first().map(|point| point.first_epoch);
        }
        Ok(Some((self.first.unwrap_or(newest.epoch).min(newest.epoch), newest.epoch)))
    }

    fn report(&mut self, epoch: u64) -> Result<Option<Report>> {
        match &self.newest {
            Some(newest) if newest.epoch == epoch => Ok(Some(newest.clone())),
            _ => self.ask(&format!("/report.json?epoch={epoch}")),
        }
    }

    fn verdicts(&mut self, epoch: u64) -> Result<Vec<Verdict>> {
        self.ask(&format!("/verdicts.json?epoch={epoch}"))
    }

    fn series(&mut self, epochs: RangeInclusive<u64>, points: usize) -> Result<Vec<Point>> {
        let (from, to) = epochs.into_inner();
        self.ask(&format!("/history.json?from={from}&to={to}&points={points}"))
    }

    fn marks(&mut self, epochs: RangeInclusive<u64>) -> Result<Vec<Mark>> {
        let (from, to) = epochs.into_inner();
        self.ask(&format!("/marks.json?from={from}&to={to}"))
    }

    fn lines(&mut self) -> Result<Vec<Line>> {
        self.ask("/lines.json")
    }

    fn send(&mut self, command: Command) -> Result<()> {
        let path = format!("/control/{}", command.name());
        let answer = self.client.post(&path, ()).map_err(|error| self.unreachable(&error))?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(self.refused(&path, &answer)),
        }
    }

    fn takes_commands(&self) -> bool {
        true
    }
}
