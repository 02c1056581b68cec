//! Shared by several tests: small jobs, the binary, and a plain loop over the stages.

#![allow(dead_code, missing_docs)]

use sluicebox::engine::flow::Stages;
use sluicebox::job::Job;
use sluicebox::run::{Options, Parts, Prepared, prepare};
use sluicebox_core::error::Result;
use sluicebox_learn::messages::Weights;
use sluicebox_stream::microbatch::batcher::Next;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A small digits job: 3 epochs of 8 steps, f32 on the CPU.
pub fn small_job(more: &[&str]) -> Job {
    let sets: Vec<String> = ["epoch.steps=8", "stop.epochs=3", "device=cpu", "precision=f32", "threads=2"]
        .iter()
        .chain(more)
        .map(|set| set.to_string())
        .collect();
    Job::load(&root().join("pipelines/digits.toml"), &sets).unwrap()
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns a job's stages, without output and without a state folder.
pub fn prepared(job: &Job) -> Prepared {
    prepare(Parts::default(), job, &Options::default(), Arc::new(AtomicBool::new(false))).unwrap()
}

/// Runs a job silently and returns the SHA-256 of its weights.
pub fn weights_of(job: &Job) -> String {
    let stop = Arc::new(AtomicBool::new(false));
    sluicebox::run::run(job, &Options::default(), stop).unwrap().weights_sha256
}

/// The dataflow at lag 1 as a loop without timely: one step after the other.
pub fn plain_loop(stages: Stages) -> Result<()> {
    let Stages { mut feed, mut batcher, mut weak, mut teacher, mut filter, mut strong, .. } = stages;
    let Stages { mut student, reporter, store, in_flight, .. } = stages;
    let mut weights: Weights = in_flight.into_iter().last().unwrap().1;
    while let Next::MicroBatch(micro_batch) = feed.cut_next()? {
        let views = weak.view(batcher.batch(*micro_batch)?)?;
        teacher.receive(&weights);
        let training_batch = strong.view(filter.judge(teacher.score(views)?)?)?;
        let (result, next) = student.learn(training_batch)?;
        weights = next;
        let (reported, _ledger_input) = reporter.borrow_mut().add(result)?;
        if let Some(snapshot) = reporter.borrow_mut().publish(reported, None) {
            store.borrow_mut().commit(*snapshot)?;
        }
    }
    Ok(())
}

/// Returns the command, ready for arguments; stdin closed, in the project's folder.
pub fn sluicebox() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sluicebox"));
    command.current_dir(root()).stdin(std::process::Stdio::null());
    command
}

/// Runs the command to its end: returns exit code, stdout and stderr.
pub fn output(arguments: &[&str]) -> (i32, String, String) {
    let output = sluicebox().args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// A running command, killed when it is dropped.
pub struct Running(pub std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// Writes an IDX file of bytes.
pub fn write_idx(path: &Path, dimensions: &[u32], bytes: &[u8]) {
    let mut content = vec![0, 0, 8, dimensions.len() as u8];
    dimensions.iter().for_each(|size| content.extend(size.to_be_bytes()));
    content.extend(bytes);
    std::fs::write(path, content).unwrap();
}

/// Writes a CSV of `count` rows, whose 5 features separate 3 classes. `bad` are additional lines,
/// inserted after the first 100 rows.
pub fn write_csv(path: &Path, count: usize, bad: &[&str]) {
    let mut text = String::from("a,b,c,d,e,class\n");
    let mut draw = 1u64;
    let mut noise = || {
        draw = draw.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (draw >> 40) as f64 / (1u64 << 24) as f64 - 0.5
    };
    for row in 0..count {
        let class = row * 7 % 3;
        let features: Vec<String> =
            (0..5).map(|f| format!("{:.4}", if f == class { 2.0 } else { 0.0 } + noise())).collect();
        text += &format!("{},{}\n", features.join(","), ["ant", "bee", "fly"][class]);
        if row == 99 {
            bad.iter().for_each(|line| text += &format!("{line}\n"));
        }
    }
    std::fs::write(path, text).unwrap();
}
