//! How the processes of a job meet: the flags of `run`, and what a process beside the first does.

use clap::Args;
use sluicebox::cluster::{Entrance, Hosts, Meeting, Request, is_address};
use sluicebox::run::workers::place;
use sluicebox_client::commands::stop::stop_on_ctrl_c;
use sluicebox_core::config::plain_words::without_codes;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::tell;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Flags about the processes of a job.
#[derive(Args)]
pub struct Processes {
    /// Number of processes that the workers are dealt over; by default that of the lines in --hosts. The same as --set
    /// processes=P.
    #[arg(long, value_name = "P")]
    processes: Option<usize>,
    /// Number of this process, from 0. Only process 0 has the job's data, --state and ports; the others get what they need from
    /// it, and leave all flags about a job aside.
    #[arg(long, value_name = "I", default_value_t = 0, requires = "hosts")]
    process: usize,
    /// File with a host:port for each process, one a line from process 0 on, # for comments. Process 0 listens at its own.
    #[arg(long, value_name = "FILE")]
    hosts: Option<PathBuf>,
    /// Address, or port of this machine, at which process 0 awaits others that come by `sluicebox join`, in place of --hosts.
    #[arg(long, value_name = "ADDR", conflicts_with = "hosts", value_parser = address)]
    join_at: Option<String>,
    #[command(flatten)]
    reaching: Reaching,
}

/// Flags about reaching process 0.
#[derive(Args)]
pub struct Reaching {
    /// Time within which all processes must have come.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime_serde::re::humantime::parse_duration)]
    start_timeout: Duration,
    /// Reach process 0 by TLS, and trust the certificates (PEM) in this file. For jobs with server.cert.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
}

/// What a process is.
pub enum Role {
    /// Process 0, with what it adds to the job's settings, and how it meets the others, if there are any.
    Head(Option<String>, Option<Meeting>),
    /// Another one.
    Other(Entrance),
}

impl Processes {
    /// Settles what this process of the job in a file is; the job has so many `workers`, if a flag says so.
    pub fn role(self, job: &Path, workers: Option<usize>, token: Option<String>) -> Result<Role> {
        let Self { processes, process, hosts, join_at, reaching } = self;
        let sum = std::fs::read(job).ok().map(|bytes| sluicebox::engine::checkpoint::sha256(&bytes));
        let set = |processes: usize| format!("processes={processes}");
        let Some(path) = hosts else {
            let patience = reaching.start_timeout;
            let meeting = join_at.map(|address| Meeting { address, others: Vec::new(), patience, job: sum });
            return Ok(Role::Head(processes.map(set), meeting));
        };
        let Hosts(mut hosts) = Hosts::read(&path)?;
        let count = processes.unwrap_or(hosts.len());
        if count != hosts.len() {
            let reason = format!("has {} processes, but --processes says {count}", hosts.len());
            return Err(Error::file(path, reason));
        }
        if process >= count {
            let reason = format!("has no line for --process {process}: the last is process {}", count - 1);
            return Err(Error::file(path, reason));
        }
        let head = hosts.remove(0);
        if process == 0 {
            let meeting =
                Meeting { address: head, others: hosts, patience: reaching.start_timeout, job: sum };
            return Ok(Role::Head(Some(set(count)), Some(meeting)));
        }
        let request = Request { process: Some(process), processes: Some(count), workers, job: sum };
        Ok(Role::Other(reaching.entrance(head, token, request)))
    }
}

impl Reaching {
    /// Returns the way to the process 0 at `head`.
    pub fn entrance(self, head: String, token: Option<String>, request: Request) -> Entrance {
        Entrance { head, token, trusted: self.tls_ca, request, patience: self.start_timeout }
    }
}

/// Takes part in a job as a process beside the first.
pub fn take_part(entrance: &Entrance) -> Result<()> {
    let kept = || "process 0 ends the job, and says what is kept".into();
    let stop = stop_on_ctrl_c("asking process 0 to end the job", kept)?;
    place::take_part(entrance, &stop).map_err(|error| {
        tell(&without_codes(&format!("error: {error}")));
        // SAFETY: it only ends the process. `exit` would first tear down libtorch, while workers may still compute.
        unsafe { libc::_exit(error.exit_code().into()) }
    })
}

/// Returns the address that `text` means: a port alone is one of this machine.
fn address(text: &str) -> Result<String, String> {
    match text {
        port if port.parse::<u16>().is_ok() => Ok(format!("127.0.0.1:{port}")),
        address if is_address(address) => Ok(address.into()),
        _ => Err("this is neither HOST:PORT nor a port".into()),
    }
}
