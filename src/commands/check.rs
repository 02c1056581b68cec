//! `check`: prints the whole job, or every fault in it.

use super::{JobFile, say};
use sluicebox::{Job, Result};

/// Prints the resolved job.
pub fn check(file: &JobFile) -> Result<()> {
    let job = Job::load(&file.job, &file.set)?;
    say(job.resolved().trim_end());
    Ok(())
}
