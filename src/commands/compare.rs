//! `compare`: methods, or any other values of a job's keys, beside each other.

use super::{JobFile, say, stop_on_ctrl_c};
use clap::Args;
use sluicebox::compare::outcome::Measure;
use sluicebox::compare::{Equal, Request, plan, table};
use sluicebox::{Error, Result};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// What it is told.
///
/// Every combination of the values runs with every seed, one after another. The table tells how
/// good each is after equal samples (each job runs to its own end), equal passes (a pass is a
/// sample in the student's forward and backward pass; all but the variant that makes most of them
/// run again, longer) and equal seconds (those of the fastest run). The same command again goes on
/// where it was stopped.
#[derive(Args)]
pub struct Compare {
    #[command(flatten)]
    job: JobFile,
    /// Lay each of these values over the job, such as method.kind=supervised,fixmatch; several
    /// times for combinations. Laid over what --set says.
    #[arg(long, value_name = "KEY=A,B,…", required = true)]
    vary: Vec<String>,
    /// How many seeds, from 0; or which, such as 7,11,13.
    #[arg(long, value_name = "N", default_value = "3")]
    seeds: String,
    /// How far to match: samples alone, or passes as well, which takes further runs.
    #[arg(long, value_enum, default_value_t)]
    equal: Equal,
    /// What says how good a run is; by default held-out accuracy where the job has held-out
    /// samples.
    #[arg(long, value_enum)]
    measure: Option<Measure>,
    /// Folder of the runs, the table (compare.md) and the numbers (compare.json); by default
    /// compare-NAME of the job.
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the numbers to this file as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs what is not done yet and prints the table.
pub fn compare(arguments: Compare) -> Result<()> {
    let Compare { job, vary, seeds, equal, measure, out, json } = arguments;
    let plan = plan(&Request { job: job.job, set: job.set, vary, seeds, equal, measure, out, json })?;
    let stop = stop_on_ctrl_c("finishing the step and writing a checkpoint")?;
    let comparison = plan.carry_out(&stop)?;
    say(&table::text(&comparison));
    let (failed, of) = (comparison.failed(), comparison.runs.len());
    if stop.load(Ordering::Relaxed) {
        eprintln!("stopped; the same command goes on");
    }
    match failed {
        0 => Ok(()),
        failed => Err(Error::Runs { failed, of }),
    }
}
