//! What happened, folded: outcomes of steps become epoch reports and the job's summary.

use crate::data::{Facts, Outcome, STAGES, Weights};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::evaluate::{self, Evaluation};
use crate::ledger::{self, Account};
use crate::model::Model;
use crate::outcomes::Pending;
use crate::sink::Sink;
use crate::source::HeldOut;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

/// Counts since a beginning: the epoch's or the job's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Steps done.
    pub steps: u64,
    /// Unlabelled samples streamed.
    pub samples: u64,
    /// The same by source, in the job's order.
    pub by_source: Vec<u64>,
    /// Those that passed the filter.
    pub accepted: u64,
    /// Accepted ones whose class is known.
    pub accepted_known: u64,
    /// Accepted ones whose pseudo-label is that class.
    pub accepted_right: u64,
    /// Samples whose class is known.
    pub known: u64,
    /// Samples whose class the teacher gave before the student trained on them.
    pub right: u64,
    /// Samples in the student's forward and backward passes for the unlabelled loss.
    pub student_samples: u64,
    /// Sums over steps of the labelled and the unlabelled loss.
    pub losses: [f64; 2],
    /// Sum over steps of how many steps the teacher was behind.
    pub lag: u64,
}

/// `part` of `whole`; none where there is no whole.
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.steps += other.steps;
        self.samples += other.samples;
        self.add_sources(&other.by_source);
        self.accepted += other.accepted;
        self.accepted_known += other.accepted_known;
        self.accepted_right += other.accepted_right;
        self.known += other.known;
        self.right += other.right;
        self.student_samples += other.student_samples;
        self.losses[0] += other.losses[0];
        self.losses[1] += other.losses[1];
        self.lag += other.lag;
    }

    /// Adds how many samples each of the job's sources gave.
    pub fn add_sources<T: Copy + Into<u64>>(&mut self, taken: &[T]) {
        self.by_source.resize(self.by_source.len().max(taken.len()), 0);
        self.by_source.iter_mut().zip(taken).for_each(|(sum, taken)| *sum += (*taken).into());
    }

    /// Part of the samples that passed the filter.
    pub fn accepted_fraction(&self) -> f64 {
        share(self.accepted, self.samples).unwrap_or(0.0)
    }

    /// Part of the pseudo-labels that were right, where truth is known.
    pub fn pseudo_label_precision(&self) -> Option<f64> {
        share(self.accepted_right, self.accepted_known)
    }

    /// Part of the teacher's classes that were right, test-then-train, where truth is known.
    pub fn prequential_accuracy(&self) -> Option<f64> {
        share(self.right, self.known)
    }
}

/// The report of one epoch.
#[derive(Debug, Clone, Serialize)]
pub struct EpochReport {
    /// From 1.
    pub epoch: u64,
    /// Steps of the job so far.
    pub steps: u64,
    /// Samples of the job so far.
    pub samples: u64,
    /// Samples a second in this epoch.
    pub samples_per_s: f64,
    /// Part of this epoch's samples that passed the filter.
    pub accepted_fraction: f64,
    /// Part of this epoch's pseudo-labels that were right, where truth is known.
    pub pseudo_label_precision: Option<f64>,
    /// Mean over this epoch's steps.
    pub labelled_loss: f64,
    /// Mean over this epoch's steps.
    pub unlabelled_loss: f64,
    /// The teacher's, on samples held out for evaluation.
    pub accuracy: Option<f64>,
    /// Part of this epoch's samples whose class the teacher gave before training on them.
    pub prequential_accuracy: Option<f64>,
    /// Mean over this epoch: 1 is the sequential algorithm.
    pub teacher_lag_steps: f64,
    /// Part of the time in which the stream had no sample to give.
    pub source_wait_fraction: f64,
    /// Wall time of the epoch.
    pub seconds: f64,
    /// Seconds in each stage. On a GPU: until the work is handed over, not until it is done.
    pub stage_seconds: BTreeMap<&'static str, f64>,
    /// Records that could not be read, over the job.
    pub dead_letters: u64,
    /// What each source gave, in the job's order.
    pub sources: Vec<SourceReport>,
    /// What the ledger knows at the epoch's end; none where the job has no ledger.
    pub ledger: Option<ledger::Report>,
}

/// What one source gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceReport {
    /// Its kind.
    pub source: String,
    /// Samples in this epoch.
    pub samples: u64,
    /// Records that could not be read, over the job.
    pub dead_letters: u64,
}

/// The job's result: what `--summary` writes.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Name of the job.
    pub job: String,
    /// Kind of the method.
    pub method: String,
    /// Where it computed.
    pub device: String,
    /// Workers.
    pub workers: usize,
    /// The job's seed.
    pub seed: u64,
    /// Epochs done, over all runs of the job.
    pub epochs: u64,
    /// Steps done, over all runs of the job.
    pub steps: u64,
    /// Unlabelled samples streamed, over all runs of the job.
    pub samples_seen: u64,
    /// Of this run.
    pub samples_per_s: f64,
    /// Of this run.
    pub seconds: f64,
    /// Part of all samples that passed the filter.
    pub accepted_fraction: f64,
    /// Part of all pseudo-labels that were right; none without truth.
    pub pseudo_label_precision: Option<f64>,
    /// Samples in the student's passes for the unlabelled loss.
    pub student_samples: u64,
    /// The teacher's at the last evaluation; none without held-out samples.
    pub accuracy: Option<f64>,
    /// Labelled samples known.
    pub label_count: u64,
    /// Labels that came after their samples.
    pub late_labels: u64,
    /// Part of all classes the teacher gave that were right; none without truth.
    pub prequential_accuracy: Option<f64>,
    /// Checkpoints written by this run.
    pub checkpoints: u64,
    /// Most memory this process has held.
    pub peak_rss_mib: f64,
    /// Of the student's weights, running statistics and the teacher's.
    pub weights_sha256: String,
}

/// The reporter's section of a snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Of the whole job, without the present epoch.
    pub job: Counts,
    /// Of the present epoch.
    pub epoch: Counts,
    /// Epochs reported.
    pub epochs: u64,
    /// At the last evaluation.
    pub accuracy: Option<f64>,
    /// Labelled samples known.
    pub labels_known: u64,
    /// How far each sink has got, by its name.
    pub sinks: BTreeMap<String, Vec<u8>>,
}

/// Someone who is told how a job goes.
pub trait Watcher {
    /// A step of the present epoch is done.
    fn step(&mut self, _epoch: u64, _done: u64, _of: u64) {}

    /// An epoch is done.
    fn epoch(&mut self, report: &EpochReport) -> Result<()>;
}

/// What the reporter needs to evaluate the teacher.
pub struct Evaluator {
    /// The network.
    pub model: Rc<dyn Model>,
    /// Where it computes.
    pub compute: Compute,
    /// On what.
    pub held_out: Option<Box<dyn HeldOut>>,
    /// What samples look like.
    pub format: crate::samples::Format,
    /// Epochs from one evaluation to the next; 0 is never.
    pub every_epochs: u64,
}

impl Evaluator {
    /// Evaluates weights on what is held out, as it looks after `streamed` samples.
    fn evaluate(&self, weights: &Weights, streamed: u64) -> Option<Evaluation> {
        let held_out = self.held_out.as_ref()?.at(streamed);
        Some(evaluate::evaluate(&self.model, self.compute, &self.format, weights, &held_out))
    }
}

/// The reporter's own column.
const REPORT: usize = STAGES.len() - 1;

/// What a reporter is asked for, and how often.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Kinds of the job's sources.
    pub sources: Vec<String>,
    /// Steps an epoch.
    pub epoch_steps: u64,
    /// Steps whose outcomes are fetched from the device at once.
    pub fetch_steps: u64,
    /// A ledger wants the facts of each step.
    pub for_ledger: bool,
}

/// Folds outcomes, and tells the sinks. One for a job.
pub struct Reporter {
    evaluator: Evaluator,
    watchers: Vec<Box<dyn Watcher>>,
    sinks: Vec<Box<dyn Sink>>,
    /// Kinds of the job's sources.
    sources: Vec<String>,
    epoch_steps: u64,
    /// Steps whose outcomes are fetched from the device at once.
    fetch_steps: u64,
    /// Somebody wants to know each sample's judgement.
    each_sample: bool,
    state: State,
    late_labels: u64,
    pending: Pending,
    stage_s: [f64; STAGES.len()],
    starved_s: f64,
    dead_letters: Vec<u64>,
    epoch_began: Instant,
    epoch_samples_before: u64,
}

impl Reporter {
    /// A reporter that goes on from `state`.
    pub fn new(
        evaluator: Evaluator,
        watchers: Vec<Box<dyn Watcher>>,
        sinks: Vec<Box<dyn Sink>>,
        schedule: Schedule,
        state: State,
    ) -> Self {
        let Schedule { sources, epoch_steps, fetch_steps, for_ledger } = schedule;
        Self {
            evaluator,
            watchers,
            each_sample: for_ledger || sinks.iter().any(|sink| sink.takes_predictions()),
            sinks,
            sources,
            epoch_steps,
            fetch_steps,
            late_labels: 0,
            epoch_samples_before: state.epoch.samples,
            state,
            pending: Pending::default(),
            stage_s: [0.0; STAGES.len()],
            starved_s: 0.0,
            dead_letters: Vec::new(),
            epoch_began: Instant::now(),
        }
    }

    /// Where the counts stand.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Labels that came after their samples, over the job.
    pub fn late_labels(&self) -> u64 {
        self.late_labels
    }

    /// Takes in the outcome of a step. Gives the facts that were fetched with it: those of this
    /// step and of some before it, where they are wanted.
    pub fn absorb(&mut self, mut outcome: Outcome) -> Result<(Outcome, Vec<Facts>)> {
        let began = Instant::now();
        let ticket = &outcome.ticket;
        for (sum, seconds) in self.stage_s.iter_mut().zip(ticket.stage_s) {
            *sum += seconds;
        }
        self.starved_s += ticket.starved_s;
        self.dead_letters.clone_from(&ticket.dead_letters);
        if !ticket.barrier {
            self.state.labels_known = outcome.labels_known;
        }
        self.pending.add(&outcome, self.each_sample);
        let full = self.pending.counts.steps >= self.fetch_steps;
        let due = full || ticket.ends_epoch || ticket.snapshot.is_some();
        let facts = if due { self.fetch()? } else { Vec::new() };
        let done = self.state.epoch.steps + self.pending.counts.steps;
        for watcher in &mut self.watchers {
            watcher.step(self.state.epochs + 1, done, self.epoch_steps);
        }
        let ended = outcome.ticket.ends_epoch && self.state.epoch.steps > 0;
        if ended {
            outcome.report = Some(Box::new(self.end_epoch(outcome.teacher.take(), began)));
        }
        if let Some(snapshot) = &mut outcome.ticket.snapshot {
            for sink in &mut self.sinks {
                self.state.sinks.insert(sink.name(), sink.snapshot()?);
            }
            let state = bincode::serialize(&self.state);
            let state = state.map_err(|error| Error::Engine(error.to_string()))?;
            snapshot.sections.insert("report".into(), state);
        }
        if !ended {
            self.stage_s[REPORT] += began.elapsed().as_secs_f64();
        }
        Ok((outcome, facts))
    }

    /// Tells of an epoch's end and completes a snapshot, now that the ledger's account of the
    /// step is there, if there is a ledger.
    pub fn tell(&mut self, mut outcome: Outcome, account: Option<Account>) -> Result<Outcome> {
        let mut report = outcome.report.take();
        if let Some(mut account) = account {
            self.late_labels = account.standing.labels.late;
            if let (Some(snapshot), Some(state)) = (&mut outcome.ticket.snapshot, account.state.take()) {
                snapshot.sections.insert("ledger".into(), state);
            }
            if let Some(report) = &mut report {
                report.ledger = Some(ledger::Report::new(account));
            }
        }
        if let Some(report) = report {
            self.watchers.iter_mut().try_for_each(|watcher| watcher.epoch(&report))?;
            self.sinks.iter_mut().try_for_each(|sink| sink.epoch(&report))?;
        }
        Ok(outcome)
    }

    /// Counts the pending outcomes, and tells the sinks of each sample.
    fn fetch(&mut self) -> Result<Vec<Facts>> {
        let (counts, facts) = std::mem::take(&mut self.pending).fetch()?;
        self.state.epoch.add(&counts);
        let names = &self.evaluator.format.classes;
        for sink in self.sinks.iter_mut().filter(|sink| sink.takes_predictions()) {
            facts.iter().try_for_each(|facts| sink.predictions(&facts.rows, names))?;
        }
        Ok(facts)
    }

    fn end_epoch(&mut self, teacher: Option<Weights>, began: Instant) -> EpochReport {
        let counts = std::mem::take(&mut self.state.epoch);
        let here = counts.samples - self.epoch_samples_before;
        self.epoch_samples_before = 0;
        self.state.job.add(&counts);
        self.state.epochs += 1;
        let trained_s = self.epoch_began.elapsed().as_secs_f64();
        let every = self.evaluator.every_epochs;
        let due = every > 0 && self.state.epochs.is_multiple_of(every);
        let evaluation = teacher
            .filter(|_| due)
            .and_then(|weights| self.evaluator.evaluate(&weights, self.state.job.samples));
        let accuracy = evaluation.map(|evaluation| evaluation.accuracy);
        self.state.accuracy = accuracy.or(self.state.accuracy);
        self.stage_s[REPORT] += began.elapsed().as_secs_f64();
        let steps = counts.steps as f64;
        let report = EpochReport {
            epoch: self.state.epochs,
            steps: self.state.job.steps,
            samples: self.state.job.samples,
            samples_per_s: here as f64 / trained_s.max(1e-9),
            accepted_fraction: counts.accepted_fraction(),
            pseudo_label_precision: counts.pseudo_label_precision(),
            labelled_loss: counts.losses[0] / steps,
            unlabelled_loss: counts.losses[1] / steps,
            accuracy,
            prequential_accuracy: counts.prequential_accuracy(),
            teacher_lag_steps: counts.lag as f64 / steps,
            source_wait_fraction: self.starved_s / trained_s.max(1e-9),
            seconds: self.epoch_began.elapsed().as_secs_f64(),
            stage_seconds: STAGES.into_iter().zip(self.stage_s).collect(),
            dead_letters: self.dead_letters.iter().sum(),
            sources: self.source_reports(&counts),
            ledger: None,
        };
        self.stage_s = [0.0; STAGES.len()];
        self.starved_s = 0.0;
        self.epoch_began = Instant::now();
        report
    }

    fn source_reports(&self, counts: &Counts) -> Vec<SourceReport> {
        let of = |list: &[u64], at: usize| list.get(at).copied().unwrap_or(0);
        let report = |(at, source): (usize, &String)| SourceReport {
            source: source.clone(),
            samples: of(&counts.by_source, at),
            dead_letters: of(&self.dead_letters, at),
        };
        self.sources.iter().enumerate().map(report).collect()
    }

    /// The counts of the whole job.
    pub fn total(&self) -> Counts {
        let mut total = self.state.job.clone();
        total.add(&self.state.epoch);
        total
    }
}
