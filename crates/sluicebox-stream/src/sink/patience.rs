//! Patience of a prediction sink with a full disk: each prediction is promised once, so the job may not go
//! on past one that cannot be written.

use sluicebox_core::controls::Controls;
use std::io::{Error, ErrorKind, Result};
use std::time::{Duration, Instant};

/// Longest wait for free space; then the job ends.
const PATIENCE: Duration = Duration::from_secs(600);
/// Delay before the write is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// Part of the job in its troubles.
const PART: &str = "predictions";

/// Tries a write again while the disk is full.
#[derive(Default)]
pub(super) struct Patience {
    /// The job's controls: a job that is to stop waits no longer.
    pub controls: Controls,
}

impl Patience {
    /// Returns what `attempt` returns, once it does not fail for want of space: then the job is held. Gives
    /// up after ten minutes, and when the job is to stop or has failed. `what` is being written.
    pub fn write<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        loop {
            let error = match attempt() {
                Err(error) if is_passing(&error) => error,
                done => {
                    if self.controls.health.works(PART) {
                        tracing::info!("the job goes on: {what} can be written again");
                    }
                    return done;
                }
            };
            if self.gives_up(began) {
                return Err(error);
            }
            if self.controls.health.trouble(PART, format!("{what}: {error}")) {
                let most = PATIENCE.as_secs() / 60;
                tracing::warn!(
                    "the job is held: {what} cannot be written: {error}; free some space within {most} minutes"
                );
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn gives_up(&self, began: Instant) -> bool {
        let Controls { health, .. } = &self.controls;
        began.elapsed() >= PATIENCE || self.controls.is_stopped() || health.failure().is_some()
    }
}

fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    fn full() -> Error {
        ErrorKind::StorageFull.into()
    }

    #[test]
    fn a_write_is_tried_again_until_there_is_space() {
        let patience = Patience::default();
        let mut left = 3;
        let written = patience.write("the file", || {
            left -= 1;
            if left > 0 {
                return Err(full());
            }
            assert!(patience.controls.health.troubles()["predictions"].contains("the file"));
            Ok("written")
        });
        assert_eq!(written.unwrap(), "written");
        assert!(patience.controls.health.troubles().is_empty());
    }

    #[test]
    fn a_job_that_is_to_stop_does_not_wait_and_other_errors_are_errors() {
        let patience = Patience::default();
        let broken: Result<()> = patience.write("the file", || Err(ErrorKind::PermissionDenied.into()));
        assert_eq!(broken.unwrap_err().kind(), ErrorKind::PermissionDenied);
        patience.controls.stop.store(true, Ordering::Relaxed);
        let stopped: Result<()> = patience.write("the file", || Err(full()));
        assert_eq!(stopped.unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
