//! The command: `run`, `check`, `list`, `eval`, `export`. Turns errors into exit codes.

use clap::{Args, Parser, Subcommand};
use sluicebox::console::Log;
use sluicebox::run::Options;
use sluicebox::{Error, Job, Result, run};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Continual semi-supervised learning over an unbounded stream.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a job to its end, or until Ctrl-C.
    Run(Run),
    /// Check a job file: print the whole job, or every fault in it.
    Check(JobFile),
    /// List what a job can name.
    List,
}

#[derive(Args)]
struct JobFile {
    /// The job file, such as pipelines/digits.toml.
    job: PathBuf,
    /// Lay key=value over the job file; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    job: JobFile,
    /// Folder for checkpoints; the same command again goes on from the newest.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Forget the checkpoints in the state folder and start anew.
    #[arg(long, requires = "state")]
    fresh: bool,
    /// Write the summary to a file, as one JSON object.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// How epoch reports are written.
    #[arg(long, value_enum, default_value_t)]
    log: Log,
}

fn main() -> ExitCode {
    // Stages that panic are caught and named by the dataflow.
    std::panic::set_hook(Box::new(|_| {}));
    let result = match Cli::parse().command {
        Command::Run(arguments) => run_job(arguments),
        Command::Check(file) => {
            Job::load(&file.job, &file.set).map(|job| print!("{}", job.resolved()))
        }
        Command::List => {
            list();
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run_job(arguments: Run) -> Result<()> {
    let job = Job::load(&arguments.job.job, &arguments.job.set)?;
    let options = Options { state: arguments.state, fresh: arguments.fresh, log: arguments.log };
    let summary = run::run(&job, &options, stop_on_ctrl_c(options.state.is_some())?)?;
    let text = serde_json::to_string(&summary).map_err(Error::request)?;
    if let Some(path) = &arguments.summary {
        std::fs::write(path, format!("{text}\n")).map_err(|error| Error::file(path, error))?;
    }
    println!("{text}");
    Ok(())
}

/// A flag that the first Ctrl-C (or SIGTERM) raises; the second ends the process at once.
fn stop_on_ctrl_c(keeps_state: bool) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    let handler = move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        let then = if keeps_state { "writing a checkpoint" } else { "keeping nothing: no --state" };
        eprintln!("\nfinishing the step and {then}; again to stop at once");
    };
    ctrlc::set_handler(handler).map_err(|error| Error::request(format!("cannot handle Ctrl-C: {error}")))?;
    Ok(stop)
}

fn list() {
    fn rows<B>(registry: &sluicebox::registry::Registry<B>) {
        println!("{}s", registry.what);
        for entry in registry.entries {
            println!("  {:<14} {}", entry.name, entry.about);
        }
    }
    rows(&sluicebox::source::SOURCES);
    rows(&sluicebox::augmentation::AUGMENTATIONS);
    rows(&sluicebox::model::MODELS);
    rows(&sluicebox::method::METHODS);
    rows(&sluicebox::student::optimiser::OPTIMISERS);
    rows(&sluicebox::sink::SINKS);
}
