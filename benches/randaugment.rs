//! Goal: RandAugment makes at least 10 times as many views per second as torchvision's PIL
//! operations, both on two cores: 448 grey images of 28 by 28 pixels, both variants, without and
//! with cutout.
//!
//!     SLUICEBOX_PYTHON=PYTHON cargo bench --bench randaugment
//!
//! Skipped where neither that Python nor `python3` has torchvision.

#![allow(missing_docs)]
mod allocator;
#[path = "../tests/support/mod.rs"]
mod support;

use sluicebox_core::config::registry::Spec;
use sluicebox_core::rng::{Randomness, Stage};
use sluicebox_learn::augmentation::Policy;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tch::{Kind, Tensor};

const ROUNDS: usize = 5;
const SIDE: i64 = 28;
const IMAGES: i64 = 448;

fn main() {
    allocator::keep_freed_memory();
    let Some(python) = python() else {
        println!("skipped: no Python with torchvision (name one in SLUICEBOX_PYTHON)");
        return;
    };
    tch::set_num_threads(2);
    let mut theirs = Theirs::start(&python);
    let cutouts = [("google", ""), ("usb", "varies = true")];
    println!("images/s, medians of {ROUNDS} alternating rounds, 2 threads against 2 processes\n");
    println!("{:<16} {:>10} {:>12} {:>7}", "policy", "sluicebox", "torchvision", "ratio");
    for (variant, cutout) in cutouts {
        for with_cutout in [false, true] {
            let mut specs = vec![spec("randaugment", &format!("variant = \"{variant}\""))];
            if with_cutout {
                specs.push(spec("cutout", cutout));
            }
            let policy = Policy::build(&specs).expect("the policy is good");
            let (mut ours, mut other, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                ours.push(rate(&policy));
                other.push(theirs.rate(variant, with_cutout));
                ratios.push(ours[ours.len() - 1] / other[other.len() - 1]);
            }
            let name = format!("{variant}{}", if with_cutout { " + cutout" } else { "" });
            println!("{name:<16} {:>10.0} {:>12.0} {:>7.1}", median(ours), median(other), median(ratios));
        }
    }
}

fn spec(kind: &str, options: &str) -> Spec {
    Spec { kind: kind.into(), options: options.parse().expect("the options are TOML") }
}

/// Returns the images per second of `policy`, measured for half a second.
fn rate(policy: &Policy) -> f64 {
    let of = |values: Vec<i64>, shape: [i64; 4]| Tensor::from_slice(&values).view(shape);
    let columns = of((0..SIDE).collect(), [1, 1, 1, SIDE]);
    let rows = of((0..SIDE).collect(), [1, 1, SIDE, 1]);
    let numbers = of((0..IMAGES).collect(), [IMAGES, 1, 1, 1]);
    let levels = &columns * 7 + &rows * 5 + numbers * 3 + (&columns * &rows).remainder(17);
    let batch = levels.remainder(256).to_kind(Kind::Float) / 255.0;
    let randomness = Randomness::new(0, 0);
    let view = |step| policy.view(&batch, &mut randomness.at(step, Stage::StrongView));
    let _ = view(0);
    let (start, mut step) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_millis(500) {
        step += 1;
        let _ = view(step);
    }
    (step as i64 * IMAGES) as f64 / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns a Python that has torchvision, if there is one.
fn python() -> Option<String> {
    let candidates = std::env::var("SLUICEBOX_PYTHON").into_iter().chain(["python3".to_string()]);
    candidates.into_iter().find(|python| {
        let probe = Command::new(python).args(["-c", "import torch, torchvision, PIL"]).output();
        probe.is_ok_and(|output| output.status.success())
    })
}

/// The torchvision script, which reads one request per line.
struct Theirs {
    child: Child,
    answers: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Theirs {
    fn start(python: &str) -> Self {
        let script = support::root().join("benches/pytorch/randaugment.py");
        let mut command = Command::new(python);
        let command = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python starts");
        let answers = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, answers }
    }

    fn rate(&mut self, variant: &str, cutout: bool) -> f64 {
        let input = self.child.stdin.as_mut().expect("it is piped");
        writeln!(input, "{variant} {}", u8::from(cutout)).expect("the script reads");
        let answer = self.answers.next().expect("the script answers").expect("in text");
        answer.parse().expect("with a number")
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        drop(self.child.stdin.take()); // the script ends with its input
        let _ = self.child.wait();
    }
}
