//! Records that are missing at the end of the log: they are told, and their numbers are never given again.
//!
//! The library reads a log whose end was cut, zeroed or replaced by an older copy as a shorter log. What its
//! records were numbered is known from the state's checkpoints, and from the file of [`Written`].

use crate::wal::entry::RECORD;
use crate::wal::gaps::Gaps;
use crate::wal::settings::{Durability, LogSettings};
use crate::wal::store::{Store, words};
use crate::wal::written::{Earlier, Written};
use sluicebox_core::error::{Error, Result};
use std::path::Path;

/// Numbers that are skipped after a hole, at least: records may have been written after those that are known
/// of. A log of 16 GiB holds no more.
const SKIPPED: u64 = 1 << 28;

/// Said where the last records that were written are not known.
const INTERRUPTED: &str = ". The machine stopped while the job ran with log.durability = \"os\" (or the file `written` of \
                           the log is damaged): what was acknowledged in the last seconds before that may be gone as well";
/// The same where only the checkpoints know.
const LATER: &str = ". What was acknowledged after the newest checkpoint is gone as well";

/// What a state knows of its log.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Expected {
    /// What its checkpoints know; None: it has no checkpoint.
    pub saved: Option<SavedEnds>,
    /// What to do about missing records.
    pub loss: Loss,
}

/// What checkpoints know of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SavedEnds {
    /// First record that the checkpoint in use still needs.
    pub needed: u64,
    /// First record that had not been written when the newest checkpoint was taken.
    pub end: u64,
}

/// What to do about missing records.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Loss {
    /// With `durability = "fsync"` the log is refused; otherwise they are told.
    #[default]
    Judge,
    /// They are told.
    Accept,
    /// The log was forgotten on purpose, with what [`Wal::forget`](crate::wal::Wal::forget) returned; they are told.
    Forgotten(Option<Earlier>),
}

/// Judges a log whose first unused number is `next`, and returns the number to go on with, and the numbers before it that
/// no record has. If numbers are skipped, that is durable when this returns.
pub(super) fn close(
    store: &Store,
    folder: &Path,
    settings: &LogSettings,
    next: u64,
    expected: Expected,
) -> Result<(u64, Gaps)> {
    let (earlier, forgotten) = match expected.loss {
        Loss::Forgotten(earlier) => (earlier, true),
        Loss::Judge | Loss::Accept => (Written::earlier(folder), false),
    };
    let gaps = earlier.map(|earlier| earlier.gaps).unwrap_or_default();
    let saved = expected.saved.unwrap_or_default();
    let end = saved.end.max(saved.needed).max(earlier.map_or(0, |earlier| earlier.next));
    let is_interrupted = earlier.is_some_and(|earlier| earlier.interrupted);
    if end <= next && !is_interrupted && !forgotten {
        return Ok((next, gaps));
    }
    let missing = gaps.records(next, end);
    let harmless = gaps.records(next, saved.needed.min(end));
    let unknown = match earlier {
        Some(Earlier { interrupted: true, .. }) => INTERRUPTED,
        None => LATER,
        // An older copy of the log, with its own file.
        Some(earlier) if earlier.next < saved.end => LATER,
        _ => "",
    };
    let told = format!("{}{}{unknown}", ends(next), counts(missing, harmless));
    if missing > 0 && settings.durability == Durability::Fsync && expected.loss == Loss::Judge {
        return Err(Error::file(
            folder,
            format!(
                "{told}. With log.durability = \"fsync\" none may be missing: restore the folder from a backup, or go on \
                 without them with --accept-loss"
            ),
        ));
    }
    let skipped = SKIPPED.max(2 * settings.max_bytes / RECORD);
    let from = end.max(next) + skipped;
    store.skip(next, from, expected.saved.is_some()).map_err(|error| Error::file(folder, words(&error)))?;
    tracing::warn!("{}: {told}. New records are numbered from {from}", folder.display());
    Ok((from, gaps.with(next, from)))
}

fn ends(next: u64) -> String {
    match next {
        0 => "there are no records in the log".into(),
        next => format!("the log ends with record {}", next - 1),
    }
}

/// Says how many records are missing, and which of them matter.
fn counts(missing: u64, harmless: u64) -> String {
    match (missing, missing - harmless) {
        (0, _) => String::new(),
        // A gap that is not known: the file of [`Written`] was lost as well.
        (SKIPPED.., lost) if lost > 0 => {
            ", but more were written: an unknown number of records of acknowledged samples, \
                                       labels and steps are gone"
                .into()
        }
        (_, 0) => format!(", but {missing} more were written; all of them are in the checkpoint"),
        (_, lost) => format!(
            ", but {missing} more were written: {harmless} of them are in the checkpoint, up to {lost} records of \
             acknowledged samples, labels and steps are gone"
        ),
    }
}

/// Refuses a log that has been trimmed, in a state without a checkpoint.
pub(super) fn refuse_trimmed(folder: &Path, oldest: u64) -> Result<()> {
    if oldest == 0 {
        return Ok(());
    }
    Err(Error::file(
        folder,
        format!(
            "the log begins with record {oldest}: what came before was in checkpoints, and the state folder has none. \
             Put its step-… folders back from a backup, or start anew with --fresh, which deletes the log as well"
        ),
    ))
}
