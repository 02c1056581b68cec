//! `check`: prints the whole job, or every fault in it.

use super::JobFile;
use sluicebox::job::Job;
use sluicebox::job::effective::{Effective, open_keys};
use sluicebox_core::error::Result;
use sluicebox_core::terminal::say;

/// Prints the resolved job, with the settings that it leaves open as it would run with a state folder.
pub fn check(file: &JobFile) -> Result<()> {
    let job = Job::load(&file.job, &file.set)?;
    let effective = Effective::foreseen(&job)?;
    say(effective.written_out(&job).resolved().trim_end());
    let open = open_keys(&job);
    if !open.is_empty() {
        let can = if effective.late_labels { "can" } else { "cannot" };
        say(&format!("# Labels {can} come late in this job, from which follow: {}", open.join(", ")));
    }
    Ok(())
}
