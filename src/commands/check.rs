//! `check`: prints the whole job, or every fault in it.

use super::JobFile;
use sluicebox::engine::metrics::FetchSchedule;
use sluicebox::job::Job;
use sluicebox::job::advice::advice;
use sluicebox::job::effective::{Effective, open_keys};
use sluicebox_core::error::Result;
use sluicebox_core::terminal::say;

/// Prints the resolved job, with the settings that it leaves open as it would run with a state folder. Refuses what the
/// run would refuse on the job's device; of a job that may run on either it says what a GPU would refuse.
pub fn check(file: &JobFile) -> Result<()> {
    let job = Job::load(&file.job, &file.set)?;
    let effective = Effective::foreseen(&job)?;
    let for_ledger = effective.retain.is_some();
    let on_gpu = FetchSchedule::on_gpu(job.report.fetch_steps, for_ledger, job.flow.window);
    let refused = match (job.device.as_str(), on_gpu) {
        ("auto", Err(reason)) => Some(reason),
        ("cpu", _) => None,
        (_, on_gpu) => on_gpu.map(|_| None)?,
    };
    say(effective.written_out(&job).resolved().trim_end());
    let open = open_keys(&job);
    if !open.is_empty() {
        let can = if effective.late_labels { "can" } else { "cannot" };
        let open = open.join(", ");
        say(&format!("# Labels {can} come late in this job. Settled by that and by the network: {open}"));
    }
    say(&format!("# Recommended: {}", advice(&job, &effective).beside(&job.method.kind)));
    if let Some(reason) = refused {
        say(&format!("# Where there is a GPU the job is refused (device = \"auto\"): {reason}"));
    }
    Ok(())
}
