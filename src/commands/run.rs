//! `run`: runs a job to its end, or until Ctrl-C.

use super::idle_threads::IdleThreads;
use super::processes::{Processes, Role, take_part};
use super::{JobFile, address};
use clap::Args;
use sluicebox::engine::checkpoint;
use sluicebox::engine::metrics::Summary;
use sluicebox::job::Job;
use sluicebox::job::workers::Workers;
use sluicebox::run::{Options, overdue};
use sluicebox::serve::endpoints::LISTEN;
use sluicebox_client::commands::Token;
use sluicebox_client::commands::stop::stop_on_ctrl_c;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::grouped;
use sluicebox_core::terminal::{say, tell};
use sluicebox_observe::console;
use sluicebox_observe::logging::{Logs, RowFormat};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Arguments of `run`.
#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    job: JobFile,
    /// Folder for checkpoints; the same command resumes from the newest.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Discard the checkpoints in the state folder and start over.
    #[arg(long, requires = "state")]
    fresh: bool,
    /// Go on from the best checkpoint (checkpoint.best) instead of the newest; later checkpoints are removed.
    #[arg(long, requires = "state", conflicts_with = "fresh")]
    from_best: bool,
    /// Go on although the log in the state folder has lost records, also with log.durability = "fsync".
    #[arg(long, requires = "state", conflicts_with = "fresh")]
    accept_loss: bool,
    /// Delete the log in the state folder, a damaged one for instance, and go on from the newest checkpoint. Samples
    /// and labels that it has not read are gone.
    #[arg(long, requires = "state", conflicts_with = "fresh")]
    forget_log: bool,
    /// Write the summary to a file, as one JSON object.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Serve the job at an address or a port of this machine: a page at /, and the other endpoints.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = LISTEN, value_parser = address)]
    listen: Option<String>,
    /// Number of workers, or auto: threads that each compute their part of a step, in all processes together. The same as --set
    /// workers=N.
    #[arg(long, value_name = "N")]
    workers: Option<Workers>,
    #[command(flatten)]
    processes: Processes,
    #[command(flatten)]
    token: Token,
    #[command(flatten)]
    idle_threads: IdleThreads,
}

/// Runs the job and prints its summary; `rows` is the format of the epoch reports.
pub fn run(arguments: Run, rows: RowFormat, logs: Logs) -> Result<()> {
    let mut set = arguments.job.set;
    set.extend(arguments.listen.map(|address| format!("server.listen=\"{address}\"")));
    set.extend(arguments.workers.map(|workers| format!("workers={workers}")));
    let token = arguments.token.read()?;
    let workers = arguments.workers.and_then(Workers::count);
    let role = arguments.processes.role(&arguments.job.job, workers, token.clone())?;
    let (processes, meeting) = match role {
        Role::Head(processes, meeting) => (processes, meeting),
        Role::Other(entrance) => {
            arguments.idle_threads.sleep_soon(usize::MAX); // how many threads there will be is not known yet
            return take_part(&entrance);
        }
    };
    set.extend(processes);
    let job = Job::load(&arguments.job.job, &set)?;
    arguments.idle_threads.sleep_soon(job.threads);
    if let Some(path) = &arguments.summary {
        // Fails now rather than after hours of work.
        let open = std::fs::OpenOptions::new().create(true).append(true).open(path);
        open.map_err(|error| Error::file(path, format!("cannot write the summary: {error}")))?;
    }
    let Run { state, fresh, from_best, accept_loss, forget_log, summary: summary_file, .. } = arguments;
    let patience = Some(overdue::PATIENCE);
    let log = Some(rows);
    let options =
        Options { state, fresh, from_best, accept_loss, forget_log, log, logs, patience, token, meeting };
    let then = match options.state {
        Some(_) => "finishing the step and writing a checkpoint",
        None => "finishing the step; nothing is saved without --state",
    };
    let kept = {
        let state = options.state.clone();
        move || format!("{}; the summary was not written", kept(state.as_deref()))
    };
    let stop = stop_on_ctrl_c(then, kept)?;
    let summary = sluicebox::run::run(&job, &options, stop.clone())?;
    if summary.steps == 0 && !stop.load(Ordering::Relaxed) {
        tell("warning: the job has ended without a step: its source had no samples");
    }
    print_summary(&summary, summary_file.as_deref(), rows, options.state.as_deref())
}

/// Prints the summary, for a person or as one JSON object, and writes it as such to a file if one is named.
pub fn print_summary(
    summary: &Summary,
    file: Option<&Path>,
    rows: RowFormat,
    state: Option<&Path>,
) -> Result<()> {
    let text = serde_json::to_string(summary).map_err(Error::request)?;
    if let Some(path) = file {
        std::fs::write(path, format!("{text}\n")).map_err(|error| Error::file(path, error))?;
    }
    match console::is_for_a_person(rows) {
        true => say(&ended(summary, state)),
        false => say(&text),
    }
    Ok(())
}

/// Says for a person how the job has ended and how it goes on, as the last line after the verdicts.
fn ended(summary: &Summary, state: Option<&Path>) -> String {
    let whole = |count: u64| grouped(count as f64);
    let early = if summary.stopped_early { " early, as it got no better (stop.patience)," } else { "" };
    let done = format!(
        "Ended{early} after {} epochs, {} steps, {} samples, {:.1} s",
        whole(summary.epochs),
        whole(summary.steps),
        whole(summary.samples_seen),
        summary.seconds
    );
    match state {
        Some(state) => format!("{done}; the same command goes on from the checkpoint in {}", state.display()),
        None => format!("{done}; nothing is saved without --state"),
    }
}

/// Says what is kept of a job that is cut short.
fn kept(state: Option<&Path>) -> String {
    match state.map(checkpoint::newest_step) {
        None => "nothing is kept without --state".into(),
        Some(None) => "no checkpoint was written yet".into(),
        Some(Some(step)) => format!("the newest checkpoint is step {step}"),
    }
}
