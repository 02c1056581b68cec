//! What Ctrl-C and SIGTERM do: the first ends the command in order, a later one at once.

use sluicebox_core::error::{Error, Result};
use sluicebox_core::terminal::tell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Signals within this time of the first are the same wish: a wrapper passes Ctrl-C on that the terminal has sent too.
const SAME: Duration = Duration::from_secs(1);
/// Longest time to find out what is kept, before the process ends in any case.
const PATIENCE: Duration = Duration::from_secs(1);
/// Exit code of a process that is ended at once: that of a shell for Ctrl-C.
const AT_ONCE: i32 = 130;

/// Returns a flag that the first Ctrl-C (or SIGTERM) sets; `then` says what happens then. Another one within a second
/// is the same one. A later one ends the process at once, after it has said what is `kept`.
pub fn stop_on_ctrl_c(
    then: &'static str,
    kept: impl Fn() -> String + Send + 'static,
) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    let mut first: Option<Instant> = None;
    let handler = move || match first {
        None => {
            first = Some(Instant::now());
            raised.store(true, Ordering::Relaxed);
            tell(&format!("\n{then}; press Ctrl-C again to stop at once"));
        }
        Some(at) if at.elapsed() < SAME => {}
        Some(_) => {
            std::thread::spawn(|| {
                std::thread::sleep(PATIENCE); // a disk may not answer
                end_at_once();
            });
            tell(&format!("stopped at once: {}", kept()));
            end_at_once();
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Error::request(format!("cannot handle Ctrl-C: {error}")))?;
    Ok(stop)
}

/// Ends the process.
pub fn end_at_once() -> ! {
    // SAFETY: it only ends the process. `exit` would first tear down libtorch, which must not happen while a step is
    // computed.
    unsafe { libc::_exit(AT_ONCE) }
}
