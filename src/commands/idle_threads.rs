//! How libtorch's threads wait. Inside an operation they look for more work for milliseconds before they sleep, and so take the
//! core from whoever has work as soon as anything else runs: beside one busy process on 2 cores, a job of 2 threads fell to 32 %
//! of its rate on an idle machine, and to 44 % with threads that sleep after a thousand looks; on an idle machine
//! both are as fast (`benches/scale.py`). libgomp reads the number as it is loaded, before `main`: so the command starts itself
//! anew with it.

use clap::Args;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Looks for work before a thread sleeps.
const LOOKS: &str = "1000";

/// How libtorch's threads wait, where the user has said so; libgomp itself reads these variables.
#[derive(Args)]
pub struct IdleThreads {
    /// Looks for work before a thread sleeps.
    #[arg(long, hide = true, env = "GOMP_SPINCOUNT")]
    gomp_spincount: Option<String>,
    /// Whether threads sleep.
    #[arg(long, hide = true, env = "OMP_WAIT_POLICY")]
    omp_wait_policy: Option<String>,
}

impl IdleThreads {
    /// Makes the threads of a job with so many `threads` sleep soon, where it takes all cores, unless the user has said how they
    /// wait. With cores to spare nobody needs the one of an idle thread, and waking it would cost up to 8 % of small steps.
    /// Call it before anything is read from standard input.
    pub fn sleep_soon(&self, threads: usize) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if threads < cores.max(2) || self.gomp_spincount.is_some() || self.omp_wait_policy.is_some() {
            return;
        }
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| "sluicebox".into());
        let mut again = Command::new("/proc/self/exe");
        let error = again.arg0(name).args(arguments).env("GOMP_SPINCOUNT", LOOKS).exec();
        tracing::debug!(
            "the command cannot start itself anew, so that idle threads keep their core: {error}"
        );
    }
}
