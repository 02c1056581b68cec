//! The summary of a run that has ended.

use crate::engine::checkpoint::Store;
use crate::engine::metrics::{Reporter, Summary};
use crate::job::Job;
use sluicebox_core::system::peak_resident_mib;
use sluicebox_learn::device;
use std::time::Duration;
use tch::Device;

/// Returns the summary of a job. This run of it lasted `took` and began after `before` samples.
pub fn of(
    job: Job,
    device: Device,
    reporter: &Reporter,
    store: &Store,
    before: u64,
    took: Duration,
) -> Summary {
    let seconds = took.as_secs_f64();
    let (total, state) = (reporter.total(), reporter.state());
    Summary {
        job: job.name,
        method: job.method.kind,
        device: device::name(device),
        precision: job.precision,
        threads: job.threads,
        workers: job.workers,
        seed: job.seed,
        epochs: state.epochs,
        steps: total.steps,
        samples_seen: total.samples,
        samples_per_s: (total.samples - before) as f64 / seconds,
        seconds,
        accepted_fraction: total.accepted_fraction(),
        pseudo_label_precision: total.pseudo_label_precision(),
        student_samples: total.student_samples,
        skipped_updates: state.skipped.job,
        unfit_samples: state.unfit,
        filter_alarms: state.filter_alarm.count,
        class_alarms: state.class_alarm.count,
        accuracy: state.accuracy,
        network_accuracy: state.network.accuracy(),
        best_accuracy: state.best.map(|best| best.accuracy),
        best_epoch: state.best.map(|best| best.epoch),
        stopped_early: reporter.has_ended_early(),
        label_count: state.labels_known,
        late_labels: reporter.late_labels(),
        prequential_accuracy: total.prequential_accuracy(),
        network_prequential_accuracy: state.network.total().accuracy(),
        near_future_accuracy: state.future.accuracy(),
        near_future_shift: state.future.shift(),
        average_anytime_accuracy: state.by_phase.average_anytime_accuracy(),
        forgetting: state.by_phase.forgetting(),
        backward_transfer: state.by_phase.backward_transfer(),
        min_accuracy: state.by_phase.min_accuracy(),
        worst_case_accuracy: state.by_phase.worst_case_accuracy(),
        phase_accuracy: state.by_phase.rows.iter().cloned().collect(),
        recovery_steps: state.recovery.steps(),
        student_passes_per_sample: total.student_passes_per_sample(),
        checkpoints: store.written(),
        peak_rss_mib: peak_resident_mib(),
        weights_sha256: store.weights_sha256().to_string(),
    }
}
