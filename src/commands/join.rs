//! `join`: takes part in a job of another machine.

use super::idle_threads::IdleThreads;
use super::processes::{Reaching, take_part};
use clap::Args;
use sluicebox::cluster::{Request, is_address};
use sluicebox_client::commands::Token;
use sluicebox_core::error::{Error, Result};

/// Arguments of `join`.
#[derive(Args)]
pub struct Join {
    /// Address of the job's process 0: host:port.
    head: String,
    #[command(flatten)]
    token: Token,
    #[command(flatten)]
    reaching: Reaching,
    #[command(flatten)]
    idle_threads: IdleThreads,
}

/// Takes part until the job ends.
pub fn join(arguments: Join) -> Result<()> {
    let Join { head, token, reaching, idle_threads } = arguments;
    if !is_address(&head) {
        return Err(Error::Request(format!("{head} is no host:port")));
    }
    idle_threads.sleep_soon(usize::MAX); // how many threads there will be is not known yet
    take_part(&reaching.entrance(head, token.read()?, Request::default()))
}
