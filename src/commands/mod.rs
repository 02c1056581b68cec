//! The commands: one file each with its arguments and its action; here, what several of them share.

pub mod check;
pub mod compare;
pub mod completions;
pub mod demo;
pub mod eval;
pub mod export;
pub mod idle_threads;
pub mod init;
pub mod join;
pub mod list;
pub mod man;
pub mod processes;
pub mod run;
pub mod schema;
pub mod serve;

use clap::Args;
use std::path::PathBuf;

/// A job file, and settings that override it.
#[derive(Args)]
pub struct JobFile {
    /// The job file, such as pipelines/digits.toml.
    pub job: PathBuf,
    /// Override a key of the job file; can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Returns the address that `text` means: a port alone is one of this machine.
pub fn address(text: &str) -> Result<String, String> {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    match text.rsplit_once(':') {
        None if is_port(text) => Ok(format!("127.0.0.1:{text}")),
        Some((host, port)) if !host.is_empty() && is_port(port) && !text.contains(['/', '"', '\\']) => {
            Ok(text.into())
        }
        _ => Err("this is neither HOST:PORT nor a port; a job stands before --listen".into()),
    }
}
