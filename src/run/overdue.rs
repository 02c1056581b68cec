//! The last resort for a job that was asked to stop: if it is in a call to the outside that does not return, such as
//! a read from a network drive that is gone, the process ends without it. A step or a checkpoint in progress is never
//! cut short.

use sluicebox_core::controls::Controls;
use sluicebox_core::error::{Error, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Time that a call to the outside has to return, once the job is asked to stop.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Exit code of such a process.
const EXIT_CODE: i32 = 3;
/// Interval between looks.
const LOOK: Duration = Duration::from_millis(100);

/// Watches a run until it is dropped.
pub struct Watch {
    _running: Sender<()>,
}

impl Watch {
    /// Starts to watch the run of a job with these sources and state folder.
    pub fn start(
        controls: Controls,
        patience: Duration,
        sources: Vec<String>,
        state: Option<PathBuf>,
    ) -> Result<Self> {
        let (running, ended) = channel();
        let watch = move || {
            let mut stopped: Option<Instant> = None;
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                if !controls.is_stopped() {
                    continue;
                }
                let since_stop = stopped.get_or_insert_with(Instant::now).elapsed();
                if let Some((doing, lasts)) = controls.is_outside().filter(|(_, lasts)| *lasts >= patience)
                    && since_stop >= patience
                {
                    tell(doing, lasts, &sources, state.as_deref());
                    // SAFETY: it only ends the process. `exit` would first tear down what the other threads use.
                    unsafe { libc::_exit(EXIT_CODE) }
                }
            }
        };
        let thread = std::thread::Builder::new().name("overdue".into()).spawn(watch);
        thread.map_err(|error| Error::Engine(format!("cannot watch the run: {error}")))?;
        Ok(Self { _running: running })
    }
}

/// Says why the process ends, and what is kept.
fn tell(doing: &str, lasts: Duration, sources: &[String], state: Option<&Path>) {
    let kept = match state {
        Some(state) => format!(
            "the newest checkpoint in {} and everything acknowledged are kept: the same command goes on from there",
            state.display()
        ),
        None => "nothing is kept without --state".into(),
    };
    // Whatever the log's level; a closed stderr must not keep the process alive.
    let _ = writeln!(
        std::io::stderr(),
        "error: the job was asked to stop, but {doing} has not ended for {:.0} s (source {}); it is cut short, with exit \
         code {EXIT_CODE}: {kept}",
        lasts.as_secs_f64(),
        sources.join(", "),
    );
}
