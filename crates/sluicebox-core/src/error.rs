//! Errors of the library, each with its place. `main` turns them into exit codes.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result type of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A fault in a job file, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `pipelines/digits.toml:12`, or the `--set` argument.
    pub place: String,
    /// Dotted path of the key; empty if there is none.
    pub key: String,
    /// The fault and its remedy.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.place, self.reason)
        } else {
            write!(f, "{}: {}: {}", self.place, self.key, self.reason)
        }
    }
}

/// Errors of the library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Faults in the job file or a `--set`, all of them.
    #[error("{}", list(.0))]
    Job(Vec<Fault>),
    /// The request cannot be met.
    #[error("{0}")]
    Request(String),
    /// A named file cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The fault and its remedy.
        reason: String,
    },
    /// A stage of the dataflow failed while running.
    #[error("operator \"{operator}\" failed at step {step}: {reason}")]
    Operator {
        /// Name of the operator, as in the drawing of the dataflow.
        operator: String,
        /// Step at which it failed.
        step: u64,
        /// Error of the stage.
        reason: String,
    },
    /// The connection's other side is gone or has failed.
    #[error("{0}")]
    Connection(String),
    /// The write-ahead log failed.
    #[error("the log in {}: {reason}", path.display())]
    Log {
        /// Folder of the log.
        path: PathBuf,
        /// The fault and its remedy.
        reason: String,
    },
    /// Some runs of a comparison failed.
    #[error("{failed} of {of} runs failed; the same command tries them again")]
    Runs {
        /// Number of runs that failed.
        failed: usize,
        /// Number of runs.
        of: usize,
    },
    /// The dataflow engine failed.
    #[error("the dataflow engine failed: {0}")]
    Engine(String),
}

impl Error {
    /// Returns an [`Error::File`] for `path`.
    pub fn file(path: impl AsRef<Path>, reason: impl fmt::Display) -> Self {
        Error::File { path: path.as_ref().to_path_buf(), reason: reason.to_string() }
    }

    /// Returns an [`Error::Request`].
    pub fn request(reason: impl fmt::Display) -> Self {
        Error::Request(reason.to_string())
    }

    /// Returns the exit code. 2: the request was wrong. 1: the job failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Job(_) | Error::Request(_) | Error::File { .. } => 2,
            Error::Operator { .. }
            | Error::Log { .. }
            | Error::Connection(_)
            | Error::Runs { .. }
            | Error::Engine(_) => 1,
        }
    }
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}
