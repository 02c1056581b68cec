//! What can go wrong, with the place it went wrong at. `main` turns it into an exit code.

use std::fmt;
use std::path::{Path, PathBuf};

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One thing that is wrong with a job, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `pipelines/digits.toml:12`, or the `--set` it came from.
    pub place: String,
    /// Dotted path of the key, empty where there is none.
    pub key: String,
    /// What is wrong and what to do.
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

/// Every failure of the library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job file or a `--set` is wrong; all faults at once.
    #[error("{}", list(.0))]
    Job(Vec<Fault>),
    /// The request cannot be met as asked.
    #[error("{0}")]
    Request(String),
    /// A file that was named cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A stage of the dataflow failed while running.
    #[error("operator \"{operator}\" failed at step {step}: {reason}")]
    Operator {
        /// Name of the operator, as in the drawing of the dataflow.
        operator: String,
        /// The step it worked on.
        step: u64,
        /// What the stage said.
        reason: String,
    },
    /// The other side of a connection is gone, or has failed.
    #[error("{0}")]
    Connection(String),
    /// The durable log failed.
    #[error("the log in {}: {reason}", path.display())]
    Log {
        /// Its folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Some runs of a comparison failed.
    #[error("{failed} of {of} runs failed; the same command tries them again")]
    Runs {
        /// Those that failed.
        failed: usize,
        /// All of them.
        of: usize,
    },
    /// The engine itself failed.
    #[error("the dataflow engine failed: {0}")]
    Engine(String),
}

impl Error {
    /// A [`Error::File`] for `path`.
    pub fn file(path: impl AsRef<Path>, reason: impl fmt::Display) -> Self {
        Error::File { path: path.as_ref().to_path_buf(), reason: reason.to_string() }
    }

    /// A [`Error::Request`].
    pub fn request(reason: impl fmt::Display) -> Self {
        Error::Request(reason.to_string())
    }

    /// 2: the request was wrong. 1: the job failed.
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

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Error::Engine(first_line(&error.to_string()))
    }
}

/// What happened, of a message of libtorch's: without the C++ stack trace and what tch wraps
/// round it when it panics.
pub fn first_line(message: &str) -> String {
    let wrapped = message.split_once("Torch(\"").map_or(message, |(_, inner)| inner);
    let line = wrapped.split("\\n").next().unwrap_or(wrapped);
    line.lines().find(|line| !line.trim().is_empty()).unwrap_or(line).trim().to_string()
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}
