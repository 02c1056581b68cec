//! How a cluster ends.

use crate::cluster::frame::{Frame, Kind};
use sluicebox_core::error::{Error, Result};
use std::time::Duration;

/// Longest time from a failure, or from the moment at which the loss of a process is seen, until all processes have ended.
/// Process 0 tells the others at once and ends within 4 s of it, whatever it does; who hears of it, or sees that process 0 is
/// gone, ends within 4 s as well, and whose own failure it is within 2 s.
pub const ALL_END: Duration = Duration::from_secs(5);

/// How a cluster ends, as one of its processes sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The workers of this process have ended, and not by a failure.
    Left,
    /// The job has come to its end.
    Ended,
    /// A process is gone.
    Lost {
        /// Which one, and how.
        reason: String,
    },
    /// The job has failed.
    Failed {
        /// Exit code of all processes. 2: the request was wrong. 1: the job failed.
        code: u8,
        /// What has failed, with the process's name.
        reason: String,
    },
}

impl Fate {
    /// Returns the end by an error.
    pub fn of(error: &Error) -> Self {
        Fate::Failed { code: error.exit_code(), reason: error.to_string() }
    }

    /// Returns the end as the result of a command.
    ///
    /// # Errors
    /// [`Error::Request`] or [`Error::Connection`], by the exit code, if it is a failure.
    pub fn into_result(self) -> Result<()> {
        match self {
            Fate::Left | Fate::Ended => Ok(()),
            Fate::Failed { code: 2, reason } => Err(Error::Request(reason)),
            Fate::Failed { reason, .. } | Fate::Lost { reason } => Err(Error::Connection(reason)),
        }
    }

    /// Returns the frame that tells another process of it.
    pub fn frame(&self) -> Frame {
        let (code, reason) = match self {
            Fate::Failed { code, reason } => (*code, reason),
            Fate::Lost { reason } => (1, reason),
            Fate::Left | Fate::Ended => return Frame::empty(Kind::End),
        };
        Frame::new(Kind::Failed, 0, [&[code], reason.as_bytes()].concat())
    }

    /// Returns the failure that such a frame tells of; `name` is put before the reason.
    pub fn told(frame: &Frame, name: &str) -> Self {
        let (code, reason) = frame.body.split_first().unwrap_or((&1, &[]));
        Fate::Failed { code: *code, reason: format!("{name}{}", String::from_utf8_lossy(reason)) }
    }
}
