//! `compare`: methods, or other values of a job's keys, side by side.

use super::JobFile;
use super::idle_threads::IdleThreads;
use clap::Args;
use sluicebox::compare::outcome::Measure;
use sluicebox::compare::{Equal, Request, plan, table};
use sluicebox::job::Job;
use sluicebox_client::commands::stop::stop_on_ctrl_c;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::{say, tell};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Arguments of `compare`.
#[derive(Args)]
pub struct Compare {
    #[command(flatten)]
    job: JobFile,
    /// Key and values to compare, such as method.kind=supervised,fixmatch; repeat for combinations.
    /// Overrides --set.
    #[arg(long, value_name = "KEY=A,B,…", required = true)]
    vary: Vec<String>,
    /// Number of seeds, from 0, or a list of seeds such as 7,11,13.
    #[arg(long, value_name = "N", default_value = "3")]
    seeds: String,
    /// Quantities to match: samples alone, or passes as well, which takes further runs.
    #[arg(long, value_enum, default_value_t)]
    equal: Equal,
    /// Measure of quality; by default held-out accuracy where the job has held-out samples,
    /// otherwise prequential accuracy.
    #[arg(long, value_enum)]
    measure: Option<Measure>,
    /// Folder for the runs, the table (compare.md) and the numbers (compare.json); by default
    /// compare-NAME, where NAME is the job's name.
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write the numbers to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    idle_threads: IdleThreads,
}

/// Executes the runs that are not done yet and prints the table.
pub fn compare(arguments: Compare) -> Result<()> {
    let Compare { job, vary, seeds, equal, measure, out, json, idle_threads } = arguments;
    if let Ok(first) = Job::load(&job.job, &job.set) {
        idle_threads.sleep_soon(first.threads); // what is wrong with it, the plan says
    }
    let plan = plan(&Request { job: job.job, set: job.set, vary, seeds, equal, measure, out, json })?;
    let kept = || {
        "the runs that are done are kept, and the present one up to its newest checkpoint; run the same command again \
         to resume"
            .to_string()
    };
    let stop = stop_on_ctrl_c("finishing the step and writing a checkpoint", kept)?;
    let comparison = plan.carry_out(&stop)?;
    say(&table::text(&comparison));
    let (failed, of) = (comparison.failed(), comparison.runs.len());
    if stop.load(Ordering::Relaxed) {
        tell("stopped; run the same command again to resume");
    }
    match failed {
        0 => Ok(()),
        failed => Err(Error::Runs { failed, of }),
    }
}
