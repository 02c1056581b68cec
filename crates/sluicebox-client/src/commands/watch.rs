//! `watch`: shows a job in the terminal.

use super::Token;
use super::stop::end_at_once;
use crate::watch::{Place, once, watch as show};
use clap::Args;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::say;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Time that the view gets to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Arguments of `watch`.
#[derive(Args)]
pub struct Watch {
    /// Address of the job's server (host:port, or http:// or https://), or a state folder.
    #[arg(value_name = "ADDR | STATE", default_value = crate::watch::place::USUAL)]
    place: String,
    /// Print everything once, as text, and exit.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    token: Token,
    /// File with the certificates (PEM) to trust instead of the default ones.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Shows the job until the user quits.
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
        // Once the terminal is gone, reading keys may block for ever.
        std::thread::sleep(PATIENCE);
        end_at_once();
    };
    ctrlc::set_handler(handler).map_err(|error| Error::request(format!("cannot handle signals: {error}")))?;
    show(&place, &stop)
}
