//! Options of a run besides the job.

use crate::cluster::Meeting;
use sluicebox_observe::logging::{Logs, RowFormat};
use std::path::PathBuf;
use std::time::Duration;

/// Options of a run besides the job.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// State folder, for checkpoints. None: nothing is kept.
    pub state: Option<PathBuf>,
    /// Start from scratch, even if the folder holds a state.
    pub fresh: bool,
    /// Go on from the best checkpoint (`checkpoint.best`); later ones are removed.
    pub from_best: bool,
    /// Go on although records of the write-ahead log are missing, also with `log.durability = "fsync"`.
    pub accept_loss: bool,
    /// Delete the write-ahead log and go on from the newest checkpoint.
    pub forget_log: bool,
    /// Format of reports on stdout. None: no reports.
    pub log: Option<RowFormat>,
    /// Source of the job's log lines.
    pub logs: Logs,
    /// Time after which the process ends with exit code 3 if the job was asked to stop, but a source does not
    /// return from a call: see [`overdue`](crate::run::overdue). None: the run waits for it.
    pub patience: Option<Duration>,
    /// Token that clients of the job's endpoints must present, and the job's other processes.
    pub token: Option<String>,
    /// How the processes meet, in jobs with several.
    pub meeting: Option<Meeting>,
}
