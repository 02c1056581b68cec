//! Claim: the time goes into the networks, not into the code around them. Times each stage alone,
//! in microseconds per sample, in a plain loop with the device synchronised after each.
//!
//!     cargo bench --bench stages [-- FOLDER_OF_FASHION_MNIST]

#![allow(missing_docs)]
mod allocator;
#[path = "../tests/support/mod.rs"]
mod support;

use sluicebox::engine::flow::Stages;
use sluicebox::job::Job;
use sluicebox_core::report::pipeline::PIPELINE;
use sluicebox_learn::device::Compute;
use sluicebox_stream::microbatch::batcher::Next;
use std::path::Path;
use std::time::Instant;
use support::prepared;

fn main() {
    allocator::keep_freed_memory();
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    profile("pipelines/digits.toml", &["stop.epochs=4"]);
    match folder {
        Some(folder) => {
            let path = format!("source.path={folder}");
            profile("pipelines/fashion.toml", &[&path, "stop.epochs=2", "method.threshold=0.8"]);
        }
        None => println!("28×28 net: skipped, no folder of Fashion-MNIST was given"),
    }
}

fn profile(path: &str, sets: &[&str]) {
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    let job = Job::load(Path::new(path), &sets).expect("the job is good");
    let prepared = prepared(&job);
    let compute = Compute { device: prepared.device, precision: prepared.job.precision };
    let Stages { mut feed, mut batcher, mut weak, mut teacher, mut filter, mut strong, .. } = prepared.stages;
    let Stages { mut student, reporter, in_flight, .. } = prepared.stages;
    let mut weights = in_flight.into_iter().last().expect("there are first weights").1;
    let mut seconds = [0.0; PIPELINE.stages.len()];
    let (mut samples, mut learned, mut steps) = (0, 0, 0u64);
    let half = job.stop_step().unwrap_or(0) / 2;
    loop {
        let mut spent = [0.0; PIPELINE.stages.len()];
        let mut last = Instant::now();
        let mut lap = |stage: usize| {
            compute.synchronise();
            spent[stage] = last.elapsed().as_secs_f64();
            last = Instant::now();
        };
        let Next::MicroBatch(micro_batch) = feed.cut_next().expect("the source reads") else { break };
        let count = micro_batch.info.ids.len();
        lap(0);
        let batch = batcher.batch(*micro_batch).expect("batch");
        lap(1);
        let views = weak.view(batch).expect("weak");
        lap(2);
        teacher.receive(&weights);
        let scored = teacher.score(views).expect("teach");
        lap(3);
        let selected = filter.judge(scored).expect("filter");
        lap(4);
        let training_batch = strong.view(selected).expect("strong");
        lap(5);
        let (result, next) = student.learn(training_batch).expect("learn");
        weights = next;
        lap(6);
        let student_samples = result.student_samples;
        reporter.borrow_mut().add(result).expect("report");
        lap(7);
        steps += 1;
        if steps > half {
            // The first half is warm-up: nothing is accepted yet.
            samples += count;
            learned += student_samples;
            seconds.iter_mut().zip(spent).for_each(|(sum, spent)| *sum += spent);
        }
    }
    let total: f64 = seconds[..7].iter().sum();
    println!(
        "\n{}: {:?}, {} threads, {} labelled + {} unlabelled a step, {:.0} % accepted",
        job.name,
        prepared.job.precision,
        job.threads,
        job.batch.labelled,
        job.batch.unlabelled,
        100.0 * learned as f64 / samples as f64
    );
    println!("{:<8} {:>10} {:>10} {:>7}", "stage", "µs/sample", "ms/step", "share");
    let counted = (steps - half) as f64;
    for (stage, spent) in PIPELINE.timed().zip(seconds).take(7) {
        println!(
            "{stage:<8} {:>10.2} {:>10.3} {:>6.1}%",
            1e6 * spent / samples as f64,
            1e3 * spent / counted,
            100.0 * spent / total
        );
    }
    println!("all      {:>10.2} {:>10.3}", 1e6 * total / samples as f64, 1e3 * total / counted);
}
