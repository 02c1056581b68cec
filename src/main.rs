//! The command line. Turns errors into exit codes.

mod commands;

use clap::{CommandFactory, Parser, Subcommand};
use commands::{
    JobFile, check, compare, completions, demo, eval, export, init, join, list, man, run, schema, serve,
};
use sluicebox_client::commands::{feed, label, plot, sample, watch};
use sluicebox_core::config::plain_words::without_codes;
use sluicebox_core::terminal::tell;
use sluicebox_observe::logging::{self, LogFilter};
use std::ffi::CStr;
use std::process::ExitCode;

/// libtorch takes memory anew for every result; with glibc's allocator a quarter of a small
/// step goes there. Linked with `override`, this one serves libtorch's C++ as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milliseconds until freed memory goes back to the system.
const FREED_STAYS_MS: std::ffi::c_long = 2000;
/// The option `mi_option_purge_delay` of mimalloc 2, which its bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Lets freed memory stay with the command for a while: each step frees and takes the same megabytes, and after the 10 ms of
/// mimalloc's default the kernel has taken them back and must clear them anew, which was a third of a step of images. A user's
/// own `MIMALLOC_PURGE_DELAY` counts.
fn keep_freed_memory() {
    // SAFETY: sets a number in mimalloc's table of options, which may be done at any time.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, FREED_STAYS_MS) };
}

/// Operations that libtorch's library for CPUs (oneDNN, and ideep above it) keeps compiled, each for one shape. Where samples
/// are filtered each step has a batch of its own size, and the 1,024 of the default were 800 MiB.
const COMPILED_OPERATIONS: &CStr = c"256";

/// Bounds what libtorch keeps compiled. A user's own settings of these variables count.
fn keep_few_operations() {
    for name in [c"ONEDNN_PRIMITIVE_CACHE_CAPACITY", c"LRU_CACHE_CAPACITY"] {
        // SAFETY: the texts end with zero, and no other thread runs yet that could read the environment.
        unsafe { libc::setenv(name.as_ptr(), COMPILED_OPERATIONS.as_ptr(), 0) };
    }
}

/// Continual semi-supervised learning over an unbounded stream.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Format of epoch reports (text or json) and log level (off, error, warn, info, debug, trace),
    /// for everything or for a module, such as json,warn,server=trace.
    #[arg(
        long,
        global = true,
        env = "SLUICEBOX_LOG",
        value_name = "[text|json][,LEVEL][,MODULE=LEVEL]…",
        default_value = "text,info"
    )]
    log: LogFilter,
}

#[derive(Subcommand)]
enum Command {
    /// Run a live job on handwritten digits: feed it, label some late, and show it in a browser.
    Demo(demo::Demo),
    /// Look at data and write a job file that learns from it.
    Init(Box<init::Init>),
    /// Run a job to its end, or until Ctrl-C.
    Run(Box<run::Run>),
    /// Take part in a job that runs on another machine with --join-at or --hosts.
    Join(join::Join),
    /// Send samples to a running job whose source is `tcp`.
    Feed(feed::Feed),
    /// Check a job file: print the whole job, or every fault in it.
    Check(JobFile),
    /// Label samples of a running job, or correct or withdraw labels.
    Label(label::Label),
    /// Compare methods, or any other values of a job's keys, over several seeds.
    ///
    /// Every combination of the values runs with every seed, one after another. The table shows the quality of
    /// each at equal samples (each job runs to its own end), at equal passes (a pass is one sample in the
    /// student's forward and backward pass; all variants but the one with the most passes run again, longer) and
    /// at equal seconds (those of the fastest run). The same command resumes where it was stopped.
    Compare(compare::Compare),
    /// Evaluate the newest checkpoint: accuracy of answers and network, classes, confusion, calibration.
    Eval(eval::Eval),
    /// Write the newest checkpoint's teacher for PyTorch.
    Export(export::Export),
    /// Watch a job in the terminal: by its address while it runs, or by its state folder.
    Watch(watch::Watch),
    /// Show a job that has ended: its page, from its state folder, with other runs to lay over its charts.
    Serve(serve::Serve),
    /// Draw a job's history: a stand-alone report (.html) or one chart (.svg, .png).
    Plot(plot::Plot),
    /// Write samples of an embedded set, to try out what a job can be fed with.
    Sample(sample::Sample),
    /// List the kinds that a job can name, or the meters of its reports.
    List(list::List),
    /// Write the JSON Schema of a job file, from which editors complete, or the reference of all keys.
    Schema(schema::Schema),
    /// Write what a shell needs to complete this command: `source <(sluicebox completions bash)`.
    Completions(completions::Completions),
    /// Write manual pages into a folder.
    Man(man::Man),
}

fn main() -> ExitCode {
    keep_freed_memory();
    keep_few_operations();
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Panics of stages are caught and reported by the dataflow.
        if !sluicebox::engine::flow::is_guarded() {
            report(panic);
        }
    }));
    let cli = Cli::parse();
    let result = logging::init(&cli.log).and_then(|logs| match cli.command {
        Command::Demo(arguments) => demo::demo(arguments, cli.log.rows, logs),
        Command::Init(arguments) => init::init(*arguments),
        Command::Run(arguments) => run::run(*arguments, cli.log.rows, logs),
        Command::Join(arguments) => join::join(arguments),
        Command::Feed(arguments) => feed::feed(arguments),
        Command::Label(arguments) => label::label(arguments),
        Command::Check(file) => check::check(&file),
        Command::Compare(arguments) => compare::compare(arguments),
        Command::Eval(arguments) => eval::eval(arguments),
        Command::Export(arguments) => export::export(&arguments),
        Command::Watch(arguments) => watch::watch(arguments),
        Command::Serve(arguments) => serve::serve(arguments),
        Command::Plot(arguments) => plot::plot(&arguments),
        Command::Sample(arguments) => sample::sample(&arguments),
        Command::List(arguments) => list::list(&arguments),
        Command::Schema(arguments) => schema::print(&arguments),
        Command::Completions(arguments) => completions::completions(&arguments, Cli::command()),
        Command::Man(arguments) => man::man(&arguments, Cli::command()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&without_codes(&format!("error: {error}")));
            ExitCode::from(error.exit_code())
        }
    }
}
