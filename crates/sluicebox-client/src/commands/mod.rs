//! The commands of the client: one file each with its arguments and its action. The full command has
//! them too.

pub mod feed;
pub mod label;
pub mod plot;
pub mod watch;

use clap::Args;
use sluicebox_core::error::{Error, Result};
use sluicebox_stream::auth;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Token of a job's listener.
#[derive(Args)]
pub struct Token {
    /// Token of the job; safer in the environment or in a file than on the command line.
    #[arg(long, env = "SLUICEBOX_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// File that holds the token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Token {
    /// Returns the token, if there is one.
    pub fn read(&self) -> Result<Option<String>> {
        match &self.token_file {
            Some(path) => auth::read_token(path).map(Some),
            None => Ok(self.token.clone().filter(|token| !token.is_empty())),
        }
    }
}

/// Prints a line of results. Ignores errors, such as a closed pipe.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Returns a flag that the first Ctrl-C (or SIGTERM) sets; the second ends the process at once.
pub fn stop_on_ctrl_c(then: &'static str) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    let handler = move || {
        if raised.swap(true, Ordering::Relaxed) {
            // SAFETY: it only ends the process. `exit` would first tear down libtorch, which must
            // not happen while a step is computed.
            unsafe { libc::_exit(130) }
        }
        eprintln!("\n{then}; press Ctrl-C again to stop at once");
    };
    ctrlc::set_handler(handler).map_err(|error| Error::request(format!("cannot handle Ctrl-C: {error}")))?;
    Ok(stop)
}
