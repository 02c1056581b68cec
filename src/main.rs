//! The command: `run`, `feed`, `check`, `list`, `eval`, `export`. Turns errors into exit codes.

use clap::{Args, Parser, Subcommand};
use sluicebox::console::Log;
use sluicebox::decode::{self, Kind};
use sluicebox::feeder::{self, Input, Rate};
use sluicebox::run::Options;
use sluicebox::samples::{Dtype, Shape};
use sluicebox::{Error, Job, Result, run};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    /// Send samples to a running job whose source is `tcp`.
    Feed(Feed),
    /// Check a job file: print the whole job, or every fault in it.
    Check(JobFile),
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
}

#[derive(Args)]
struct Feed {
    /// Where the job listens: host:port (port 7879 if none is named).
    address: String,
    /// Files (idx, cifar, npy, csv, ndjson, png, jpeg; gzip or plain), folders of them, or - for
    /// stdin, which is also read where none is named.
    files: Vec<PathBuf>,
    /// What stdin holds.
    #[arg(long, value_name = "KIND", default_value = "ndjson", value_parser = ["ndjson", "csv", "npy"])]
    stdin: String,
    /// Send at most so many samples, such as 500/s or 30/min.
    #[arg(long)]
    rate: Option<Rate>,
    /// Begin again at the end of the files, for ever.
    #[arg(long = "loop")]
    repeat: bool,
    /// Name under which the job counts these samples: the same name with the same files goes on
    /// where it was. By default made of the host's and the files' names.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The job's token.
    #[arg(long, env = "SLUICEBOX_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// File that holds the job's token.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// Go over TLS, and trust the certificates (PEM) in this file.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Samples a frame.
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Refuse a job whose samples have another shape: 5, or 1,28,28.
    #[arg(long, value_name = "N[,N,N]", value_delimiter = ',')]
    shape: Vec<usize>,
    /// Refuse a job whose values have another type.
    #[arg(long, value_name = "TYPE", value_parser = ["u8", "f32"])]
    dtype: Option<String>,
    /// How long a job that cannot be reached is tried again.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime_serde::re::humantime::parse_duration)]
    retry_for: Duration,
    /// Leave out bad records instead of ending at the first.
    #[arg(long)]
    skip_bad: bool,
    /// Resize images of another size.
    #[arg(long)]
    resize: bool,
    /// Column of the class in CSV, from 0; negative counts from the end.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    class_column: Option<i64>,
    /// Column of the id in CSV.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    id_column: Option<i64>,
    /// What stands between columns in CSV.
    #[arg(long, value_name = "C", default_value_t = ',')]
    delimiter: char,
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
        Command::Feed(arguments) => feed(arguments),
        Command::Check(file) => Job::load(&file.job, &file.set).map(|job| say(job.resolved().trim_end())),
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
    let options = Options { state: arguments.state, fresh: arguments.fresh, log: Some(arguments.log) };
    let then = match options.state {
        Some(_) => "finishing the step and writing a checkpoint",
        None => "finishing the step and keeping nothing: no --state",
    };
    let summary = run::run(&job, &options, stop_on_ctrl_c(then)?)?;
    let text = serde_json::to_string(&summary).map_err(Error::request)?;
    if let Some(path) = &arguments.summary {
        std::fs::write(path, format!("{text}\n")).map_err(|error| Error::file(path, error))?;
    }
    say(&text);
    Ok(())
}

fn feed(arguments: Feed) -> Result<()> {
    let stdin = || Input::Stdin(kind_of_stdin(&arguments.stdin));
    let mut inputs: Vec<Input> = Vec::new();
    for path in arguments.files {
        inputs.push(if path.as_os_str() == "-" { stdin() } else { Input::File(path) });
    }
    if inputs.is_empty() {
        inputs.push(stdin());
    }
    if arguments.repeat && inputs.iter().any(|input| matches!(input, Input::Stdin(_))) {
        return Err(Error::request("--loop: stdin cannot be read again"));
    }
    let token = match &arguments.token_file {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?),
        None => arguments.token,
    };
    let shape = match arguments.shape[..] {
        [] => None,
        [features] => Some(Shape::Vector { features }),
        [channels, height, width] => Some(Shape::Image { channels, height, width }),
        _ => return Err(Error::request("--shape needs FEATURES or CHANNELS,HEIGHT,WIDTH")),
    };
    let dtype = arguments.dtype.map(|name| if name == "u8" { Dtype::U8 } else { Dtype::F32 });
    let decode = decode::Options {
        resize: arguments.resize,
        class_column: arguments.class_column,
        id_column: arguments.id_column,
        delimiter: arguments.delimiter,
    };
    let settings = feeder::Settings {
        address: arguments.address,
        inputs,
        decode,
        skip_bad: arguments.skip_bad,
        rate: arguments.rate,
        repeat: arguments.repeat,
        client_id: arguments.client_id,
        token: token.map(|token| token.trim().to_string()),
        tls_ca: arguments.tls_ca,
        batch: arguments.batch,
        shape,
        dtype,
        retry_for: arguments.retry_for,
    };
    let stop = stop_on_ctrl_c("waiting until what was read is acknowledged")?;
    say(&feeder::feed(&settings, &stop)?.to_string());
    Ok(())
}

fn kind_of_stdin(name: &str) -> Kind {
    match name {
        "csv" => Kind::Csv,
        "npy" => Kind::Npy,
        _ => Kind::Ndjson,
    }
}

/// Writes a line of results. A reader that has gone away is no failure.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A flag that the first Ctrl-C (or SIGTERM) raises; the second ends the process at once.
fn stop_on_ctrl_c(then: &'static str) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    let handler = move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\n{then}; again to stop at once");
    };
    ctrlc::set_handler(handler).map_err(|error| Error::request(format!("cannot handle Ctrl-C: {error}")))?;
    Ok(stop)
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
