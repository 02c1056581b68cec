//! Publishes the report of an epoch: adds the numbers of the ledger and of the machine, and hands the report
//! to the observers.

use crate::engine::metrics::counts::share;
use crate::engine::metrics::names::Names;
use crate::engine::metrics::reported::Reported;
use crate::engine::metrics::tables::confusion;
use sluicebox_core::interval::wilson;
use sluicebox_core::observers::{Event, Observers};
use sluicebox_core::report::ledger::LedgerReport;
use sluicebox_core::report::{Cell, Mark, MarkKind, Report, ledger};
use sluicebox_core::state::Section;
use sluicebox_core::step::Snapshot;
use sluicebox_core::system;
use sluicebox_core::system::{Gpu, now_ms};
use sluicebox_observe::gallery::Gallery;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Completes reports and sends them to the observers.
pub struct Publisher {
    observers: Observers,
    gpu: Option<Gpu>,
    late_labels: u64,
    names: Names,
    /// When the newest checkpoint was written, and the seconds that took.
    checkpoint: Option<(Instant, Duration)>,
    checkpoint_failures: u64,
    /// Epoch and step of the newest snapshot.
    snapshot: (u64, u64),
    /// Epochs reported.
    epochs: u64,
}

impl Publisher {
    /// Returns a publisher for a job that computes on `gpu`, if on any, and goes on after `epochs`.
    pub fn new(observers: Observers, gpu: Option<Gpu>, epochs: u64) -> Self {
        Self {
            observers,
            gpu,
            late_labels: 0,
            names: Names::default(),
            checkpoint: None,
            checkpoint_failures: 0,
            snapshot: (0, 0),
            epochs,
        }
    }

    /// Late labels over the job.
    pub fn late_labels(&self) -> u64 {
        self.late_labels
    }

    /// Records that a checkpoint was written, if it was, and the number of those that could not be.
    pub fn committed(&mut self, took: Option<Duration>, failures: u64) {
        self.checkpoint = took.map(|took| (Instant::now(), took)).or(self.checkpoint);
        self.checkpoint_failures = failures;
        if took.is_some() {
            let (epoch, step) = self.snapshot;
            self.mark(MarkKind::Checkpoint, epoch, step, "a checkpoint was written".into());
        }
    }

    /// Tells the observers what happened to the job at a step of an epoch.
    pub fn mark(&self, kind: MarkKind, epoch: u64, step: u64, text: String) {
        self.observers.notify(&Event::Mark(Arc::new(Mark { at_ms: now_ms(), epoch, step, kind, text })));
    }

    /// Tells the observers that the job has ended.
    pub fn end(&self) {
        self.observers.end();
    }

    /// Sends the step's report to the observers, if the step ends an epoch. Returns its snapshot, completed.
    /// `ledger_report` is the ledger's report of the same step, in jobs with a ledger.
    pub fn publish(
        &mut self,
        reported: Reported,
        ledger_report: Option<LedgerReport>,
        gallery: Option<&mut Gallery>,
    ) -> Option<Box<Snapshot>> {
        let Reported { info, mut report, .. } = reported;
        self.names.add(&info);
        self.epochs += u64::from(report.is_some());
        self.snapshot = (self.epochs + u64::from(report.is_none()), info.step + u64::from(!info.barrier));
        let mut snapshot = info.snapshot;
        if let Some(mut ledger_report) = ledger_report {
            ledger_report.newest.iter_mut().for_each(|found| self.names.name(&mut found.id));
            self.late_labels = ledger_report.ledger_stats.labels.late;
            if let (Some(snapshot), Some(state)) = (&mut snapshot, ledger_report.state.take()) {
                snapshot.sections.put(Section::Ledger, state);
            }
            if let Some(report) = &mut report {
                if let Some(gallery) = gallery {
                    gallery.add_disagreements(report.epoch, &ledger_report.newest);
                }
                add_ledger(report, ledger_report);
            }
        }
        if let Some(mut report) = report {
            self.add_machine(&mut report);
            self.observers.notify(&Event::Epoch(Arc::new(*report)));
        }
        snapshot
    }

    /// Adds the numbers of the machine to a report.
    fn add_machine(&self, report: &mut Report) {
        let job = &mut report.job;
        job.checkpoint_age_seconds = self.checkpoint.map(|(written, _)| written.elapsed().as_secs_f64());
        job.checkpoint_seconds = self.checkpoint.map(|(_, took)| took.as_secs_f64());
        job.checkpoint_failures = Some(self.checkpoint_failures as f64);
        job.resident_memory_mib = system::resident_mib();
        job.gpu_memory_mib = self.gpu.as_ref().and_then(Gpu::memory_mib);
        job.gpu_busy_fraction = self.gpu.as_ref().and_then(Gpu::busy);
        job.reports_dropped = Some(self.observers.dropped() as f64);
    }
}

/// Adds the ledger's numbers to a report.
fn add_ledger(report: &mut Report, ledger_report: LedgerReport) {
    let cells = ledger_report.confusion.iter().map(|((truth, given), cell)| Cell {
        truth: *truth,
        given: *given,
        samples: cell.samples,
        accepted: cell.accepted,
    });
    report.confusions.extend(confusion("labels", cells));
    let ledger_stats = &ledger_report.ledger_stats;
    let interval = wilson(ledger_stats.accepted_right, ledger_stats.accepted_met);
    let mut accepted = vec![(0, 0); ledger_stats.pseudo.len()];
    for ((truth, given), cell) in &ledger_report.confusion {
        let (met, right) = &mut accepted[*given as usize];
        *met += cell.accepted;
        *right += if truth == given { cell.accepted } else { 0 };
    }
    if report.classes.len() == accepted.len() {
        let known = accepted.into_iter().zip(&ledger_stats.pseudo);
        for (class, ((met, right), pseudo)) in report.classes.iter_mut().zip(known) {
            class.meters.pseudo_labels = Some(*pseudo as f64);
            class.meters.ledger_precision = share(right, met);
        }
    }
    let found = ledger::LedgerSection::new(ledger_report);
    let job = &mut report.job;
    job.late_labels = Some(found.labels.late as f64);
    job.ledger_precision = found.precision;
    job.ledger_precision_low = interval.map(|(low, _)| low);
    job.ledger_precision_high = interval.map(|(_, high)| high);
    job.coverage = found.coverage;
    job.ledger_accuracy = found.accuracy;
    job.label_delay_samples = found.label_delay.map(|delay| delay as f64);
    job.prior_divergence = found.prior_divergence;
    report.ledger = Some(found);
}
