//! What the state of a job knows of its write-ahead log.

use crate::engine::checkpoint::{Saved, StateFolder, log_end};
use crate::run::options::Options;
use crate::serve::endpoints::LOG;
use sluicebox_core::error::{Error, Result};
use sluicebox_stream::wal::{Expected, Loss, SavedEnds, Wal};

/// Returns what the checkpoints know of the log, and what to do about records that are missing. Deletes the log if
/// that is asked for.
pub fn expected(folder: Option<&StateFolder>, saved: Option<&Saved>, options: &Options) -> Result<Expected> {
    let mut loss = match (options.forget_log, options.accept_loss) {
        (true, _) => Loss::Forgotten(None),
        (false, true) => Loss::Accept,
        (false, false) => Loss::Judge,
    };
    let Some((folder, saved)) = folder.zip(saved) else {
        return match folder.filter(|_| options.forget_log) {
            Some(folder) => Err(Error::file(
                folder.path(),
                "there is no checkpoint in it from which to go on without the log: start anew with --fresh",
            )),
            None => Ok(Expected { saved: None, loss }),
        };
    };
    let needed = saved.manifest.log_position.unwrap_or_default();
    let ends = SavedEnds { needed, end: log_end(folder.path())? };
    let log = folder.path().join(LOG);
    if options.forget_log && log.exists() {
        loss = Loss::Forgotten(Wal::forget(&log)?);
        tracing::warn!("{}: deleted, because of --forget-log", log.display());
    }
    Ok(Expected { saved: Some(ends), loss })
}
