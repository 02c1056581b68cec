//! `check`: prints the whole job, or every fault in it.

use super::JobFile;
use sluicebox::job::Job;
use sluicebox_client::commands::say;
use sluicebox_core::error::Result;

/// Prints the resolved job.
pub fn check(file: &JobFile) -> Result<()> {
    let job = Job::load(&file.job, &file.set)?;
    say(job.resolved().trim_end());
    Ok(())
}
