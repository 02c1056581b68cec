//! `watch`: a job in the terminal.

use super::{Token, say};
use clap::Args;
use sluicebox::watch::{Place, once, watch as show};
use sluicebox::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the view may take to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What it is told.
#[derive(Args)]
pub struct Watch {
    /// Where the job's server listens (host:port, or http:// or https://), or a state folder.
    #[arg(value_name = "ADDR | STATE", default_value = sluicebox::watch::facts::USUAL)]
    place: String,
    /// Print what there is to see, as text, and end.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    token: Token,
    /// Certificates (PEM) to trust instead of the usual ones, where the server has its own.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Shows the job until somebody quits.
pub fn watch(arguments: Watch) -> Result<()> {
    let place = Place { named: arguments.place, token: arguments.token.read()?, authority: arguments.ca };
    if arguments.once {
        say(once(&place)?.trim_end());
        return Ok(());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    let handler = move || {
        raised.store(true, Ordering::Relaxed);
        // Where the terminal is gone, the reading of keys may never come back.
        std::thread::sleep(PATIENCE);
        // SAFETY: it only ends the process.
        unsafe { libc::_exit(130) }
    };
    ctrlc::set_handler(handler).map_err(|error| Error::request(format!("cannot handle signals: {error}")))?;
    show(&place, &stop)
}
