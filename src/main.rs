//! The command: `run`, `check`, `label`, `list`, `eval`, `export`. Turns errors into exit codes.

use clap::{Args, Parser, Subcommand};
use sluicebox::console::Log;
use sluicebox::label::{Client, Said};
use sluicebox::run::Options;
use sluicebox::{Error, Job, Result, run};
use std::io::Write;
use std::path::{Path, PathBuf};
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
    /// Label samples of a running job, or correct or withdraw labels.
    Label(Label),
    /// Evaluate the newest checkpoint: accuracy, classes, confusion, calibration.
    Eval(Eval),
    /// Write the newest checkpoint's teacher for PyTorch.
    Export(Export),
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
    /// What clients of the job's listeners must show; better not on the command line.
    #[arg(long, env = "SLUICEBOX_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[derive(Args)]
struct Label {
    /// Where the job's server listens, such as http://127.0.0.1:7878.
    address: String,
    /// A sample's id and its class, by name or number; null withdraws.
    #[arg(value_name = "ID=CLASS", required_unless_present = "file", value_parser = sluicebox::label::parse)]
    labels: Vec<Said>,
    /// Labels from a file, or from standard input (-): lines `id,class`, or JSON objects.
    #[arg(long, value_name = "FILE", conflicts_with = "labels")]
    file: Option<PathBuf>,
    #[command(flatten)]
    token: Token,
    /// Certificates (PEM) to trust instead of the usual ones, where the server has its own.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// What a server wants to see.
#[derive(Args)]
struct Token {
    /// The server's token.
    #[arg(long, env = "SLUICEBOX_TOKEN", hide_env_values = true, hide = true)]
    token: Option<String>,
    /// File that holds the server's token; else it is SLUICEBOX_TOKEN, where that is set.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Token {
    fn read(self) -> Result<Option<String>> {
        let Some(path) = self.token_file else { return Ok(self.token.filter(|token| !token.is_empty())) };
        let text = std::fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
        Ok(Some(text.trim().to_string()))
    }
}

#[derive(Args)]
struct Eval {
    /// The state folder of a job.
    state: PathBuf,
    /// Evaluate on another source, such as csv; its options come by --set source.path=….
    #[arg(long, value_name = "KIND")]
    source: Option<String>,
    /// Lay key=value over the saved job; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Most samples evaluated.
    #[arg(long, default_value_t = 100_000)]
    limit: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Export {
    /// The state folder of a job.
    state: PathBuf,
    /// The file to write, such as model.safetensors.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
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
        Command::Run(arguments) => run_job(arguments),
        Command::Check(file) => Job::load(&file.job, &file.set).map(|job| say(job.resolved().trim_end())),
        Command::Label(arguments) => label(arguments),
        Command::Eval(arguments) => evaluate(arguments),
        Command::Export(arguments) => export(&arguments),
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
    if let Some(path) = &arguments.summary {
        // Better told now than after hours of work.
        let open = std::fs::OpenOptions::new().create(true).append(true).open(path);
        open.map_err(|error| Error::file(path, format!("cannot write the summary: {error}")))?;
    }
    let (state, fresh, log) = (arguments.state, arguments.fresh, Some(arguments.log));
    let options = Options { state, fresh, log, token: arguments.token };
    let summary = run::run(&job, &options, stop_on_ctrl_c(options.state.is_some())?)?;
    let text = serde_json::to_string(&summary).map_err(Error::request)?;
    if let Some(path) = &arguments.summary {
        std::fs::write(path, format!("{text}\n")).map_err(|error| Error::file(path, error))?;
    }
    say(&text);
    Ok(())
}

/// Writes a line of results. A reader that has gone away is no failure.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
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

fn label(arguments: Label) -> Result<()> {
    let client = Client::new(&arguments.address, arguments.token.read()?, arguments.ca.as_deref())?;
    let accepted = match &arguments.file {
        None => client.send(&arguments.labels)?,
        Some(path) if path.as_os_str() == "-" => {
            client.send_lines(std::io::stdin(), Path::new("standard input"))?
        }
        Some(path) => {
            let file = std::fs::File::open(path).map_err(|error| Error::file(path, error))?;
            client.send_lines(file, path)?
        }
    };
    say(&format!("{accepted} labels accepted"));
    Ok(())
}

fn evaluate(arguments: Eval) -> Result<()> {
    let mut sets = arguments.set;
    // A source's kind goes first: the options that follow are its own.
    sets.splice(0..0, arguments.source.map(|kind| format!("source.kind={kind}")));
    let (found, format) = sluicebox::evaluate::saved(&arguments.state, &sets, arguments.limit)?;
    if arguments.json {
        say(&serde_json::to_string(&found).map_err(Error::request)?);
        return Ok(());
    }
    say(&format!("samples            {:>8}", found.samples));
    say(&format!("accuracy           {:>7.2}%", 100.0 * found.accuracy));
    say(&format!("calibration error  {:>7.2}%", 100.0 * found.calibration_error));
    say(&format!(
        "\nclass        accuracy   given as{}",
        format.classes.iter().map(|c| format!(" {c:>6}")).collect::<String>()
    ));
    for ((class, accuracy), row) in format.classes.iter().zip(&found.class_accuracy).zip(&found.confusion) {
        let accuracy = accuracy.map_or("-".into(), |accuracy| format!("{:.2}%", 100.0 * accuracy));
        let row: String = row.iter().map(|count| format!(" {count:>6}")).collect();
        say(&format!("{class:<12} {accuracy:>8}           {row}"));
    }
    Ok(())
}

fn export(arguments: &Export) -> Result<()> {
    let Some(saved) = sluicebox::checkpoint::newest(&arguments.state)? else {
        return Err(Error::file(&arguments.state, "there is no checkpoint in it"));
    };
    std::fs::copy(saved.model(), &arguments.to).map_err(|error| Error::file(&arguments.to, error))?;
    say(&format!("{}: the teacher after step {}", arguments.to.display(), saved.manifest.step));
    Ok(())
}

fn list() {
    fn rows<B>(registry: &sluicebox::registry::Registry<B>) {
        say(&format!("{}s", registry.what));
        for entry in registry.entries {
            say(&format!("  {:<14} {}", entry.name, entry.about));
        }
    }
    rows(&sluicebox::source::SOURCES);
    rows(&sluicebox::augmentation::AUGMENTATIONS);
    rows(&sluicebox::model::MODELS);
    rows(&sluicebox::method::METHODS);
    rows(&sluicebox::student::optimiser::OPTIMISERS);
    rows(&sluicebox::sink::SINKS);
}
