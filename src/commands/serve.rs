//! `serve`: shows a job that does not run, from its state folder.

use super::address;
use clap::Args;
use sluicebox::engine::checkpoint::is_in_use;
use sluicebox::job::Server;
use sluicebox::serve::ended::Ended;
use sluicebox::serve::endpoints::LISTEN;
use sluicebox::serve::other_run::OtherRun;
use sluicebox_client::commands::Token;
use sluicebox_client::commands::stop::stop_on_ctrl_c;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::tell;
use sluicebox_observe::history::{self, History};
use sluicebox_observe::status::JobStatus;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Interval between looks whether the command is to end.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `serve`.
#[derive(Args)]
pub struct Serve {
    /// State folder of the job, or folder of a comparison, whose first run is shown then.
    state: PathBuf,
    /// Further state folders or comparisons: their runs can be laid over the charts.
    others: Vec<PathBuf>,
    /// Address or port at which the page is served.
    #[arg(long, value_name = "ADDR", default_value = LISTEN, value_parser = address)]
    listen: String,
    #[command(flatten)]
    token: Token,
}

/// Serves the page until Ctrl-C.
pub fn serve(arguments: Serve) -> Result<()> {
    let Serve { state, others, listen, token } = arguments;
    let mut runs = runs(&state)?;
    for other in &others {
        runs.extend(self::runs(other)?);
    }
    let state = runs.remove(0);
    let history = History::read(&state)?;
    if is_in_use(&state) {
        return Err(Error::file(&state, running(&history, &state)));
    }
    let status = JobStatus::ended(history, &state)?;
    let others = runs.iter().map(|run| OtherRun::open(run)).collect::<Result<_>>()?;
    let page = Ended::serve(&listen, token.read()?, status, others)?;
    let stop = stop_on_ctrl_c("ending", || "nothing was changed".into())?;
    tell(&format!("{} is shown at {}; Ctrl-C ends this", state.display(), page.url()));
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Returns the state folders that `path` means: itself, or those of the runs of a comparison by name.
fn runs(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.join("plan.json").is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let below = |path: &Path| -> Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(path).map_err(|error| Error::file(path, error))?;
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        found.retain(|path| path.is_dir());
        found.sort();
        Ok(found)
    };
    let mut runs = Vec::new();
    for variant in below(path)? {
        runs.extend(below(&variant)?.into_iter().filter(|run| history::is_in(run)));
    }
    match runs.is_empty() {
        true => Err(Error::file(path, "this comparison has no run yet")),
        false => Ok(runs),
    }
}

/// Says where a job that runs is to be looked at.
fn running(history: &History, state: &Path) -> String {
    let about = history.about().unwrap_or_default();
    let server = toml::from_str::<toml::Table>(&about.toml).ok();
    let server = server.and_then(|mut job| job.remove("server")?.try_into::<Server>().ok());
    let listens = server.and_then(|server| server.listen).filter(|listen| !listen.ends_with(":0"));
    let place = match listens {
        Some(listen) => format!("look at its own page, http://{listen}/"),
        None => format!("use `sluicebox watch {}`, or start it with --listen", state.display()),
    };
    format!("this job is running (process {}): {place}", about.pid)
}
