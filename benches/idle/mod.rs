//! Whether others use the machine, which a figure must say.

use std::time::Duration;

/// Time for which this program waits and looks at what the cores do.
const LOOK: Duration = Duration::from_secs(2);
/// Clock ticks in a second, as Linux counts them for programs.
const TICKS: f64 = 100.0;
/// Cores that others may use on a machine that counts as idle.
const IDLE: f64 = 0.1;

/// Returns what is to be said of the machine.
pub fn told() -> String {
    let before = busy();
    std::thread::sleep(LOOK);
    let others = (busy() - before) / TICKS / LOOK.as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match others < IDLE {
        true => format!("the machine is idle; {cores} cores"),
        false => format!("THE MACHINE IS NOT IDLE: others use {others:.1} of {cores} cores"),
    }
}

/// Returns the ticks in which cores were used so far.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = ticks.filter_map(|ticks| ticks.parse().ok()).collect();
    // User, nice, system, idle, waiting, interrupts, soft interrupts, taken by other machines.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum()
}
