//! Accepting connections, for all listeners of a job: what happens where it fails.

use crate::auth::Refusals;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sluicebox_core::health::Health;
use std::io::{Error, ErrorKind};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// Part of the job in its troubles.
const PART: &str = "connections";
/// Open files that a job with all its connections needs at most.
const OPEN_FILES: u64 = 4096;
/// Open files that a job with few connections needs.
const FEW_FILES: u64 = 512;

/// Accepts connections, and tells of those that cannot be accepted: once, until one can be.
pub struct Accepting {
    /// Health of the job.
    pub health: Health,
    /// Counts of refusals.
    pub refusals: Refusals,
}

impl Accepting {
    /// Returns the next connection, however many cannot be accepted before it.
    pub async fn next(&self, listener: &TcpListener) -> TcpStream {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    self.works();
                    return stream;
                }
                Err(error) => self.failed(&error).await,
            }
        }
    }

    /// Records that a connection was accepted.
    fn works(&self) {
        if self.health.works(PART) {
            tracing::info!("connections are accepted again");
        }
    }

    /// Records that none could be accepted, such as for want of file descriptors, and pauses: others may
    /// close some.
    async fn failed(&self, error: &Error) {
        if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) {
            return; // that client went away
        }
        self.refusals.count("not-accepted");
        if self.health.trouble(PART, error.to_string()) {
            tracing::warn!(
                "connections cannot be accepted: {error}; close some, or give the job more (ulimit -n)"
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Runs a listener. A job whose listener fails must not look alive, so a panic of it ends the job.
pub fn supervise(
    runtime: &Handle,
    health: Health,
    name: String,
    listener: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let task = runtime.spawn(listener);
    runtime.spawn(async move {
        // The panic hook has reported the panic.
        if task.await.is_err_and(|error| error.is_panic()) {
            health.fail(format!("{name} has failed"));
        }
    })
}

/// Raises the number of files that this process may open to what the listeners can need, as far as it may.
pub fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
    {
        tracing::debug!("the number of open files stays as it is: {error}");
    }
    if let Some(most) = getrlimit(Resource::Nofile).current.filter(|most| *most < FEW_FILES) {
        tracing::warn!(
            "this process may open {most} files only: with few connections the log can run out of them, which \
             ends the job; allow {OPEN_FILES} (ulimit -n)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_that_panics_ends_the_job() {
        let health = Health::default();
        let run = |listener: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            supervise(&Handle::current(), health.clone(), "the listener".into(), listener)
        };
        run(Box::pin(async {})).await.unwrap();
        assert_eq!(health.failure(), None);
        run(Box::pin(async { panic!("on purpose") })).await.unwrap();
        assert_eq!(health.failure(), Some("the listener has failed"));
    }

    #[tokio::test]
    async fn what_cannot_be_accepted_is_trouble_until_something_is() {
        let accepting = Accepting { health: Health::default(), refusals: Refusals::default() };
        accepting.failed(&ErrorKind::ConnectionAborted.into()).await;
        assert!(accepting.health.troubles().is_empty());
        accepting.failed(&Error::from_raw_os_error(24)).await;
        assert!(accepting.health.troubles()["connections"].contains("open files"));
        assert_eq!(accepting.refusals.read()["not-accepted"], 1);
        accepting.works();
        assert!(accepting.health.troubles().is_empty());
    }
}
