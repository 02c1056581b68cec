//! Claim: the dataflow costs next to nothing. Steps a second through timely divided by steps a
//! second of a plain loop over the same stages, in one process, taken in turns.
//!
//!     cargo bench --bench overhead [-- FOLDER_OF_FASHION_MNIST]
//!
//! At least 0.97 on the digits net, and 0.99 on the 28×28 net where its data are given.

#![allow(missing_docs)]
#[path = "../tests/support/mod.rs"]
mod support;

use sluicebox::{Job, flow};
use std::time::Instant;
use support::{plain_loop, prepared, root};

/// Many short rounds: a shared machine is noisy, and medians of pairs are not.
const ROUNDS: usize = 41;

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    // Everything is accepted: the whole mathematics of a step, as in the reference code.
    let digits = ["stop.epochs=1", "epoch.steps=60", "report.evaluate_epochs=0", "method.threshold=0"];
    compare("digits", &job("pipelines/digits.toml", &digits));
    let Some(folder) = folder else {
        println!("28×28 net: skipped, no folder of Fashion-MNIST was given");
        return;
    };
    let path = format!("source.path={folder}");
    let fashion =
        [&path, "stop.epochs=1", "epoch.steps=60", "report.evaluate_epochs=0", "method.threshold=0"];
    compare("28×28", &job("pipelines/fashion.toml", &fashion));
}

fn job(path: &str, sets: &[&str]) -> Job {
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    Job::load(&root().join(path), &sets).expect("the job is good")
}

/// Steps a second of one whole run; building the stages is not counted.
fn rate(job: &Job, through_timely: bool) -> f64 {
    let stages = prepared(job).stages;
    let start = Instant::now();
    match through_timely {
        true => flow::run(stages),
        false => plain_loop(stages, |_| ()),
    }
    .expect("the run succeeds");
    job.epoch.steps as f64 / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(name: &str, job: &Job) {
    rate(job, true);
    let (mut ratios, mut flows, mut loops) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Who goes first changes, so that a machine that slows down favours neither.
        let first = rate(job, round % 2 == 0);
        let second = rate(job, round % 2 == 1);
        let (flow, plain) = if round % 2 == 0 { (first, second) } else { (second, first) };
        ratios.push(flow / plain);
        flows.push(flow);
        loops.push(plain);
    }
    ratios.sort_by(f64::total_cmp);
    let (low, high) = (ratios[ROUNDS / 4], ratios[3 * ROUNDS / 4]);
    println!(
        "{name} net: {:.1} steps/s through timely, {:.1} in a plain loop; ratio {:.3} (median of {ROUNDS} pairs, \
         quartiles {low:.3} and {high:.3})",
        median(flows),
        median(loops),
        median(ratios)
    );
}
