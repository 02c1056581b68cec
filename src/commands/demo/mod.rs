//! `demo`: a live job on the embedded digits that feeds itself over HTTP, labels some late, and shows its page.

mod address;
mod feeder;

use super::run::print_summary;
use clap::Args;
use feeder::Feeder;
use sluicebox::engine::checkpoint;
use sluicebox::job::Job;
use sluicebox::run::{Options, overdue};
use sluicebox::serve::endpoints::LISTEN;
use sluicebox_client::commands::Token;
use sluicebox_client::commands::stop::stop_on_ctrl_c;
use sluicebox_client::feed::Rate;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::tell;
use sluicebox_observe::logging::{Logs, RowFormat};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// The job, as a file that its users can copy.
const JOB: &str = include_str!("../../../pipelines/demo.toml");

/// Arguments of `demo`.
#[derive(Args)]
pub struct Demo {
    /// Address of the page. By default the first free port of this machine from 7878 on.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Samples that are sent.
    #[arg(long, default_value = "1500/s")]
    rate: Rate,
    /// Keep what the job learns in this folder, which must be new or empty. By default it is gone with the job.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Do not open a browser.
    #[arg(long)]
    no_open: bool,
    /// Override a key of the job, pipelines/demo.toml; can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    token: Token,
    /// Where there is a desktop.
    #[arg(long, env = "DISPLAY", hide = true)]
    x11: Option<String>,
    /// Where there is a desktop.
    #[arg(long, env = "WAYLAND_DISPLAY", hide = true)]
    wayland: Option<String>,
}

impl Demo {
    /// Returns whether a browser can be expected to open, and somebody looks.
    fn opens_browser(&self) -> bool {
        let shows = |display: &Option<String>| display.as_ref().is_some_and(|name| !name.is_empty());
        let desktop = cfg!(target_os = "macos") || shows(&self.x11) || shows(&self.wayland);
        desktop && !self.no_open && std::io::stdout().is_terminal()
    }
}

/// Runs the job until Ctrl-C, and feeds it meanwhile.
pub fn demo(arguments: Demo, rows: RowFormat, logs: Logs) -> Result<()> {
    let place = address::choose(arguments.listen.as_deref(), LISTEN)?;
    let mut set = arguments.set.clone();
    set.push(format!("server.listen={place}"));
    let job = Job::parse("the demo's job", "demo", JOB.into(), &set)?;
    let kept = arguments.state.as_deref().map(refuse_used).transpose()?;
    let gone = tempfile::Builder::new().prefix("sluicebox-demo-").tempdir();
    let gone = gone.map_err(|error| Error::file(std::env::temp_dir(), error))?;
    let state = kept.unwrap_or(gone.path()).to_path_buf();
    let token = arguments.token.read()?;

    let then = "finishing the step";
    let said =
        kept.map_or("nothing is kept without --state".into(), |path| format!("see {}", path.display()));
    let stop = stop_on_ctrl_c(then, move || said.clone())?;
    let page = format!("http://{}/", address::to_ask(place));
    tell(&format!(
        "demo: handwritten digits, 2 labels per class known; {} more per second come over HTTP, a few of them labelled late\n\
         demo: look at {page}, or run `sluicebox watch {}` in a second terminal; Ctrl-C ends it",
        arguments.rate.per_s(),
        address::to_ask(place)
    ));
    let browser = arguments.opens_browser();
    Feeder { page, token: token.clone(), rate: arguments.rate, stop: stop.clone(), browser }.start()?;
    let patience = Some(overdue::PATIENCE);
    let options =
        Options { state: Some(state), log: Some(rows), logs, patience, token, ..Options::default() };
    print_summary(&sluicebox::run::run(&job, &options, stop)?, None, rows, kept)?;
    match kept {
        None => tell(
            "demo: what it learned is gone; --state DIR keeps it. Next: `sluicebox init` for your own data",
        ),
        Some(path) => {
            let path = path.display();
            tell(&format!(
                "demo: kept in {path}: `sluicebox eval {path}`, `sluicebox plot {path} -o report.html`"
            ));
        }
    }
    Ok(())
}

/// Returns the folder, unless a job has been there: the demo sends its samples from the first one on.
fn refuse_used(path: &Path) -> Result<&Path> {
    let used = checkpoint::newest_step(path).is_some() || path.join("log").exists();
    match used {
        true => Err(Error::file(path, "a job has been here, and the demo starts anew: name another folder")),
        false => Ok(path),
    }
}
