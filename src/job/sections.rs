//! Sections of a job about running it: their keys, defaults and ranges.

use crate::job::learning::Batch;
use crate::job::workers::{self, Workers};
use serde::{Deserialize, Serialize};
use sluicebox_core::config::document::Settings;
use sluicebox_core::config::range::{at_least, within};
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::device;
use sluicebox_learn::device::Precision;
use std::time::Duration;

/// Keys outside of any section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Top {
    /// Name in reports; by default the file's name.
    pub name: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Number of workers: threads that each compute their part of a step, on their own GPU or on their share of the cores.
    pub workers: Workers,
    /// Number of processes that the workers are dealt over, as many each as goes: process 0, and others that come from the same
    /// or other machines (`run --hosts`, `join`).
    pub processes: usize,
    /// `auto`, `cpu`, `cuda:N`, or `cuda`: GPU i for worker i of a process.
    pub device: String,
    /// Threads of libtorch per worker; by default the cores of process 0's machine divided among its workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(!skip_serializing_if)]
    pub threads: Option<usize>,
    /// Arithmetic precision of networks.
    pub precision: Precision,
}

impl Default for Top {
    fn default() -> Self {
        let (name, device) = (String::new(), "auto".to_string());
        let workers = Workers::Count(1);
        Self { name, seed: 0, workers, processes: 1, device, threads: None, precision: Precision::Auto }
    }
}

impl Top {
    /// Returns the number of workers on this machine.
    pub fn workers(&self, model: &str, batch: &Batch) -> usize {
        self.workers.on(cores(), device::gpus(&self.device), model, batch)
    }

    /// Returns the number of threads of each of so many workers.
    pub fn threads_of(&self, workers: usize) -> usize {
        let here = workers.div_ceil(self.processes.max(1));
        self.threads.unwrap_or((cores() / here.max(1)).max(1))
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Number of processes of jobs that were saved before there could be several.
pub fn one() -> usize {
    1
}

impl Settings for Top {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let Workers::Count(count) = self.workers
            && !(1..=workers::MOST).contains(&count)
        {
            faults.push(("workers", format!("{count}: must be 1 to {}, or \"auto\"", workers::MOST)));
        }
        let reason = match self.workers {
            Workers::Auto if self.processes == 1 => None,
            Workers::Auto => {
                Some("\"auto\" is for one process: set workers = N, the number of all of them".into())
            }
            Workers::Count(0) => None, // said above
            Workers::Count(workers) if (1..=workers).contains(&self.processes) => None,
            Workers::Count(1) => {
                Some("there is one worker: set workers = N too, the number of all of them".into())
            }
            Workers::Count(workers) => {
                Some(format!("{}: must be 1 to {workers}, the number of workers", self.processes))
            }
        };
        faults.extend(reason.map(|reason| ("processes", reason)));
        if !device::is_name(&self.device) {
            let reason =
                format!("unknown device `{}` (known: auto, cpu, cuda, cuda:0, cuda:1, …)", self.device);
            faults.push(("device", reason));
        }
        at_least(&mut faults, "threads", self.threads.unwrap_or(1), 1);
        faults
    }
}

/// `[epoch]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Epoch {
    /// Most steps per epoch.
    pub steps: u64,
    /// Seconds from an epoch's first step after which it ends as well, also where the stream waits. For jobs that are
    /// fed or labelled from outside: their log tells a restart where each epoch ended. An epoch then has no fixed
    /// number of steps, so the job's end is `stop.samples`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(!skip_serializing_if)]
    pub seconds: Option<f64>,
}

impl Default for Epoch {
    fn default() -> Self {
        Self { steps: 100, seconds: None }
    }
}

impl Epoch {
    /// Returns the time after which an epoch ends.
    pub fn time(&self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs_f64)
    }

    /// Refuses to end epochs by time in a job that has no log which says where they ended (`ingests`).
    pub fn misfit(&self, ingests: bool) -> Result<()> {
        let reason = "epoch.seconds: where an epoch ended by time could not be repeated after a restart: only a job that is fed or \
                      labelled from outside keeps a log that says it; use epoch.steps";
        match self.seconds.is_some() && !ingests {
            true => Err(Error::request(reason)),
            false => Ok(()),
        }
    }
}

impl Settings for Epoch {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "steps", self.steps as usize, 1);
        within(&mut faults, "seconds", self.seconds.unwrap_or(1.0), 0.1..=1e6);
        faults
    }
}

/// `[stop]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// Epochs after which the job ends; 0 is never.
    pub epochs: u64,
    /// Samples after which the job ends; 0 is never.
    pub samples: u64,
    /// Epochs without a better accuracy on held-out samples after which the job ends; 0 is never.
    pub patience: u64,
}

impl Settings for Stop {}

/// `[checkpoint]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoint {
    /// Steps between checkpoints; 0: only at the end.
    pub steps: u64,
    /// Number of checkpoints kept.
    pub keep: usize,
    /// Whether the end of each epoch takes a checkpoint too, and that of the best accuracy on held-out samples is
    /// kept as well.
    pub best: bool,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self { steps: 500, keep: 3, best: false }
    }
}

impl Settings for Checkpoint {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "keep", self.keep, 1);
        faults
    }
}

/// `[report]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Report {
    /// Epochs between evaluations; 0 is never.
    pub evaluate_epochs: u64,
    /// Most samples held out for evaluation.
    pub held_out: usize,
    /// Steps per fetch of step results from the device. By default 16; with a ledger on a GPU as many of them as
    /// fit into `flow.window` beside the step that waits for them, and on a CPU 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch_steps: Option<u64>,
    /// Newest samples with a known class over which accuracy is also reported.
    pub window: u64,
}

impl Default for Report {
    fn default() -> Self {
        Self { evaluate_epochs: 1, held_out: 10_000, fetch_steps: None, window: 1000 }
    }
}

impl Settings for Report {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "held_out", self.held_out, 1);
        at_least(&mut faults, "fetch_steps", self.fetch_steps.unwrap_or(1) as usize, 1);
        at_least(&mut faults, "window", self.window as usize, 1);
        faults
    }
}

/// `[flow]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Flow {
    /// Most steps in flight; bounds the memory of samples in the dataflow.
    pub window: u64,
}

impl Default for Flow {
    fn default() -> Self {
        Self { window: 2 }
    }
}

impl Settings for Flow {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "window", self.window as usize, 1);
        faults
    }
}

/// `[labels]`: labels that arrive after their samples, and wrong ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Labels {
    /// Newest samples whose values are kept, so that the student can still train on them when a label
    /// arrives.
    pub window: usize,
    /// Simulation of late labels: fraction of the samples whose class, where the source knows it, arrives as
    /// a late label, 0 to 1.
    pub rate: f64,
    /// Delay of a simulated label, in samples.
    pub delay: u64,
    /// Whether labels that look wrong are corrected: those of classes whose wrong labels the network begins to memorise.
    pub correct: bool,
    /// Probability above which the teacher's class replaces such a label, 0 to 1.
    pub correct_above: f64,
}

impl Default for Labels {
    fn default() -> Self {
        Self { window: 10_000, rate: 0.0, delay: 500, correct: false, correct_above: 0.6 }
    }
}

impl Settings for Labels {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "window", self.window, 1);
        within(&mut faults, "rate", self.rate, 0.0..=1.0);
        within(&mut faults, "correct_above", self.correct_above, 0.0..=1.0);
        faults
    }
}

/// `[ledger]`: pseudo-labels and labels of recent samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// Samples whose pseudo-label is kept. By default 100,000 where labels can come late or the method uses
    /// ledger statistics, else there is no ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retain: Option<u64>,
    /// Longest time a pseudo-label is kept; the limit `retain` applies too.
    #[serde(with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub retain_for: Option<Duration>,
}

impl Settings for Ledger {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        at_least(&mut faults, "retain", self.retain.unwrap_or(1) as usize, 1);
        if self.retain_for.is_some_and(|time| time.is_zero()) {
            faults.push(("retain_for", "must be longer than 0".into()));
        }
        faults
    }
}
