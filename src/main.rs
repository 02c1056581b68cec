//! The command. Turns errors into exit codes.

mod commands;

use clap::{Parser, Subcommand};
use commands::{JobFile, check, eval, export, feed, label, list, run, watch};
use std::process::ExitCode;

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
    Run(run::Run),
    /// Send samples to a running job whose source is `tcp`.
    Feed(feed::Feed),
    /// Check a job file: print the whole job, or every fault in it.
    Check(JobFile),
    /// Label samples of a running job, or correct or withdraw labels.
    Label(label::Label),
    /// Evaluate the newest checkpoint: accuracy, classes, confusion, calibration.
    Eval(eval::Eval),
    /// Write the newest checkpoint's teacher for PyTorch.
    Export(export::Export),
    /// Watch a job in the terminal: by its address while it runs, or by its state folder.
    Watch(watch::Watch),
    /// List what a job can name.
    List,
}

fn main() -> ExitCode {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Stages that panic are caught and named by the dataflow.
        if !sluicebox::flow::is_guarded() {
            tell(panic);
        }
    }));
    let result = match Cli::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Feed(arguments) => feed::feed(arguments),
        Command::Label(arguments) => label::label(arguments),
        Command::Check(file) => check::check(&file),
        Command::Eval(arguments) => eval::eval(arguments),
        Command::Export(arguments) => export::export(&arguments),
        Command::Watch(arguments) => watch::watch(arguments),
        Command::List => list::list(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
