//! The commands of the client: one file each with its arguments and its action. The full command has
//! them too.

pub mod feed;
pub mod label;
pub mod plot;
pub mod sample;
pub mod stop;
pub mod watch;

use clap::Args;
use sluicebox_core::error::Result;
use sluicebox_stream::auth;
use std::path::PathBuf;

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
