//! The client's command: what a machine that has data, but no libtorch, needs.

use clap::{Parser, Subcommand};
use sluicebox_client::commands::{feed, label, plot, sample, watch};
use sluicebox_core::config::plain_words::without_codes;
use sluicebox_core::terminal::tell;
use sluicebox_observe::logging::{self, LogFilter};
use std::process::ExitCode;

/// Feed, label, watch and plot a Sluicebox job.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Log lines to show, up to a level (off, error, warn, info, debug, trace), for all modules or for one,
    /// such as warn,feeder=trace.
    #[arg(
        long,
        global = true,
        env = "SLUICEBOX_LOG",
        value_name = "[LEVEL][,MODULE=LEVEL]…",
        default_value = "info"
    )]
    log: LogFilter,
}

#[derive(Subcommand)]
enum Command {
    /// Send samples to a running job whose source is `tcp`.
    Feed(Box<feed::Feed>),
    /// Label samples of a running job, or correct or withdraw labels.
    Label(label::Label),
    /// Watch a job in the terminal: by its address while it runs, or by its state folder.
    Watch(watch::Watch),
    /// Draw a job's history: a stand-alone report (.html) or one chart (.svg, .png).
    Plot(plot::Plot),
    /// Write samples of an embedded set, to try out what a job can be fed with.
    Sample(sample::Sample),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = logging::init(&cli.log).and_then(|_| match cli.command {
        Command::Feed(arguments) => feed::feed(*arguments),
        Command::Label(arguments) => label::label(arguments),
        Command::Watch(arguments) => watch::watch(arguments),
        Command::Plot(arguments) => plot::plot(&arguments),
        Command::Sample(arguments) => sample::sample(&arguments),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&without_codes(&format!("error: {error}")));
            ExitCode::from(error.exit_code())
        }
    }
}
