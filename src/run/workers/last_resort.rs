//! The last resort of a process whose cluster has failed: it may be in a long operation, or wait for an observer that does not
//! take its events, and must end all the same.

use crate::cluster::{ALL_END, Fate, Inbox};
use sluicebox_core::error::{Error, Result};
use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Time in which a process may end in order: all have ended within [`ALL_END`], 1 s of which is for the news to arrive.
const PATIENCE: Duration = ALL_END.saturating_sub(Duration::from_secs(1));

/// Calls `told` as soon as the cluster has ended by a failure. A `command` that has not ended by itself 4 s later ends then.
pub fn watch(
    inbox: &Arc<Inbox>,
    command: bool,
    told: impl FnOnce(&Fate, Error) + Send + 'static,
) -> Result<()> {
    let inbox = inbox.clone();
    let watch = move || {
        let fate = loop {
            if let Some(fate) = inbox.await_fate(PATIENCE) {
                break fate;
            }
        };
        let Err(error) = fate.clone().into_result() else { return };
        let (code, reason) = (error.exit_code(), error.to_string());
        told(&fate, error);
        thread::sleep(PATIENCE);
        if command {
            let _ = writeln!(std::io::stderr(), "error: {reason}"); // a closed stderr must not keep the process alive
            // SAFETY: it only ends the process. `exit` would first tear down what the other threads use.
            unsafe { libc::_exit(code.into()) }
        }
    };
    let thread = thread::Builder::new().name("cluster-watch".into()).spawn(watch);
    thread.map(drop).map_err(|error| Error::Engine(format!("cannot watch the processes: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn only_a_failure_is_told_and_at_once() {
        let tells = |fate: Fate| {
            let (inbox, (tell, told)) = (Arc::new(Inbox::default()), channel());
            watch(&inbox, false, move |fate, error| drop(tell.send((fate.clone(), error.to_string()))))
                .unwrap();
            inbox.close(fate);
            told.recv().ok()
        };
        for fate in [Fate::Left, Fate::Ended] {
            assert_eq!(tells(fate), None);
        }
        let lost = Fate::Lost { reason: "process 1 is gone".into() };
        assert_eq!(tells(lost.clone()), Some((lost, "process 1 is gone".into())));
    }
}
