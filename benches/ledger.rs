//! Claim: the ledger's memory is flat and its cost small. 10^7 samples pass through it, 5 % of
//! which get a late label, with a window of 100,000 samples. Prints resident memory, updates held
//! in traces, and the time per sample as the run goes on.
//!
//!     cargo bench --bench ledger [-- SAMPLES]
//!
//! Once the window is full memory changes by less than 5 %; a step of 128 samples costs less than
//! 300 µs.

#![allow(missing_docs)]
mod allocator;
#[path = "../tests/support/ledger.rs"]
mod alone;

use alone::{Alone, Draws, row};
use sluicebox::engine::flow::Ledger;
use sluicebox_core::sample::Label;
use sluicebox_core::step::LedgerInput;
use std::time::{Duration, Instant};

const BATCH: u64 = 128;
const RETAIN: u64 = 100_000;
/// Samples between a label and its sample.
const DELAY: u64 = 5_000;
const CLASSES: u64 = 10;

fn main() {
    allocator::keep_freed_memory();
    let given = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let samples: u64 = given.unwrap_or(10_000_000);
    let mut ledger = Alone::new(Ledger::new(RETAIN, None, CLASSES as usize, 1));
    let mut draws = Draws(1);
    let steps = samples / BATCH;
    let mut spent = Duration::ZERO;
    println!("   samples   resident MiB   updates held   µs a sample   µs a step of {BATCH}");
    for step in 0..steps {
        let ledger_input = ledger_input(step, &mut draws);
        let start = Instant::now();
        let (ledger_stats, _) = ledger.step(ledger_input);
        spent += start.elapsed();
        assert!(ledger_stats.is_some());
        let part = steps.div_ceil(20);
        if (step + 1).is_multiple_of(part) {
            let us = spent.as_secs_f64() * 1e6 / part as f64;
            println!(
                "{:>10} {:>14.1} {:>14} {:>13.3} {:>17.1}",
                (step + 1) * BATCH,
                resident_mib(),
                ledger.held(),
                us / BATCH as f64,
                us
            );
            spent = Duration::ZERO;
        }
    }
}

/// Returns the facts of a step: each sample gets a label with a probability of 1/20, [`DELAY`]
/// samples later.
fn ledger_input(step: u64, draws: &mut Draws) -> LedgerInput {
    let position = step * BATCH;
    let label = |id: u64| Label { id, class: Some((id % CLASSES) as u32) };
    let due = (position.saturating_sub(DELAY)..(position + BATCH).saturating_sub(DELAY)).map(label);
    let labels = due.filter(|_| draws.below(20) == 0).collect();
    let rows = (0..BATCH).map(|at| row(position + at, ((position + at) % CLASSES) as u32, draws)).collect();
    LedgerInput { step, position, labels, rows, ..LedgerInput::default() }
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.map_or(0.0, |kib| kib / 1024.0)
}
