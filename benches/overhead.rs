//! Claim: the dataflow costs next to nothing. Steps per second through timely divided by steps per
//! second of a plain loop over the same stages, alternating in one process.
//!
//!     cargo bench --bench overhead [-- FOLDER_OF_FASHION_MNIST]
//!
//! At least 0.97 on the digits net, and 0.99 on the 28×28 net where its data are given. Each step
//! is timed on its own, from one call of `pseudo_label` to the next, and medians are compared: a shared
//! machine disturbs some steps by more than the effect to be measured.
//!
//! Second claim: observing a job costs next to nothing. Steps per second of the digits job with
//! everything on (the page in a browser, `watch` in a terminal, Prometheus scraping every second,
//! history and TensorBoard written) divided by those of the job alone: at least 0.98. Everything
//! that happens in a run counts here, so its whole time is compared. The observing processes sleep
//! (SIGSTOP) while the job runs alone. First they get only the CPU time that the job leaves
//! (SCHED_IDLE), as if they ran elsewhere: the remaining cost is the job's own. Then they share the
//! cores with it.

#![allow(missing_docs)]
mod allocator;
#[path = "../tests/support/mod.rs"]
mod support;

#[path = "overhead/looked_on.rs"]
mod looked_on;

use sluicebox::engine::flow;
use sluicebox::job::Job;
use sluicebox::run::Prepared;
use sluicebox_core::error::Result;
use sluicebox_core::state::Stateful;
use sluicebox_learn::messages::Scores;
use sluicebox_learn::method::api::PseudoLabeller;
use sluicebox_learn::pseudo_labels::PseudoLabels;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;
use support::{plain_loop, prepared, root};

/// Pairs of runs.
const ROUNDS: usize = 41;
/// Warm-up steps per run.
const WARM: usize = 10;

fn main() {
    allocator::keep_freed_memory();
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    // Everything is accepted: a step does all of the mathematics, as in the reference code.
    let digits = ["stop.epochs=1", "epoch.steps=60", "report.evaluate_epochs=0", "method.threshold=0"];
    compare("digits", &job("pipelines/digits.toml", &digits));
    looked_on::compare(&digits);
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

/// A pseudo-labeller that records the time of each call.
struct Clocked {
    inner: Box<dyn PseudoLabeller>,
    calls: Rc<RefCell<Vec<Instant>>>,
}

impl PseudoLabeller for Clocked {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        self.calls.borrow_mut().push(Instant::now());
        self.inner.pseudo_label(scores)
    }
}

impl Stateful for Clocked {
    fn save(&self) -> Result<Vec<u8>> {
        self.inner.save()
    }
    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.inner.load(state)
    }
}

/// Returns the seconds of each step of one whole run, after the warm-up.
fn steps_s(job: &Job, through_timely: bool) -> Vec<f64> {
    let steps = steps_of(prepared(job), through_timely);
    steps.into_iter().skip(WARM).collect()
}

/// Returns the seconds of each step of a prepared run.
fn steps_of(prepared: Prepared, through_timely: bool) -> Vec<f64> {
    let Prepared { mut stages, reporter, .. } = prepared;
    let calls = Rc::new(RefCell::new(Vec::new()));
    let inner = stages.filter.pseudo_labeller;
    stages.filter.pseudo_labeller = Box::new(Clocked { inner, calls: calls.clone() });
    match through_timely {
        true => flow::run(stages),
        false => plain_loop(stages),
    }
    .expect("the run succeeds");
    reporter.borrow().end();
    let calls = calls.borrow();
    calls.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
}

fn quartiles(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[quarter * values.len() / 4])
}

fn compare(name: &str, job: &Job) {
    steps_s(job, true);
    let (mut flows, mut loops, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // The order alternates, so that a machine that slows down favours neither.
        let first = steps_s(job, round % 2 == 0);
        let second = steps_s(job, round % 2 == 1);
        let (mut flow, mut plain) = if round % 2 == 0 { (first, second) } else { (second, first) };
        ratios.push(quartiles(&mut plain)[1] / quartiles(&mut flow)[1]);
        flows.extend(flow);
        loops.extend(plain);
    }
    let (flow, plain) = (quartiles(&mut flows)[1], quartiles(&mut loops)[1]);
    let [low, _, high] = quartiles(&mut ratios);
    println!(
        "{name} net: {:.3} ms per step through timely, {:.3} in a plain loop (medians of {} steps each): \
         ratio {:.4} (quartiles of {ROUNDS} pairs of runs {low:.3} and {high:.3})",
        1000.0 * flow,
        1000.0 * plain,
        flows.len(),
        plain / flow
    );
}
