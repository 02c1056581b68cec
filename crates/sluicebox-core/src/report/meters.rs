//! The numbers of a report: those of the whole job, and of each class, operator, worker, source, phase and
//! reason. The doc comment of a number is its help text in every output.

use crate::report::meter::{self, Better, Group, Kind, Meter, Meters, Unit};
use serde::{Deserialize, Serialize, Serializer};

meters! {
    /// Numbers of the whole job.
    JobMeters;

    /// Steps done.
    steps: Total Count Neither Throughput;
    /// Unlabelled samples that have gone through the dataflow.
    samples: Total Samples Neither Throughput;
    /// Samples in the student's passes: accepted strong views and labelled samples.
    student_samples: Total Samples Neither Throughput;
    /// Samples in the student's passes per sample of the stream, over the whole job.
    student_passes_per_sample: Gauge Plain Neither Throughput;
    /// Samples per second that went through the dataflow.
    samples_per_s: Gauge PerSecond Higher Throughput;
    /// Samples per second received from clients and acknowledged.
    arriving_per_s: Gauge PerSecond Neither Throughput;
    /// Samples per second in the student's passes.
    student_samples_per_s: Gauge PerSecond Higher Throughput;
    /// Steps per second.
    steps_per_s: Gauge PerSecond Higher Throughput;
    /// Wall time of the epoch.
    seconds: Gauge Seconds Neither Throughput;
    /// Steps in flight when a step was cut, as a fraction of flow.window.
    window_fill: Gauge Share Neither Throughput;
    /// Fraction of the write-ahead log's capacity that is in use.
    log_fill: Gauge Share Lower Throughput;
    /// Fraction of the time in which the source waited because flow.window steps were in flight.
    credit_wait_fraction: Gauge Share Neither Throughput;
    /// Fraction of the time in which the source waited for samples of the stream.
    source_wait_fraction: Gauge Share Lower Throughput;
    /// Fraction of the time in which no operator had work: the student waited for samples.
    idle_fraction: Gauge Share Lower Throughput;
    /// Fraction of the time in which the job was paused.
    paused_fraction: Gauge Share Neither Throughput;

    /// Fraction of the samples that passed the filter.
    accepted_fraction: Gauge Share Neither Filter;
    /// Mean confidence of the teacher's pseudo-labels.
    confidence: Gauge Share Neither Filter;
    /// Confidence threshold of the filter at the end of the epoch, mean over classes.
    threshold: Gauge Share Neither Filter;
    /// Fraction of the accepted pseudo-labels that are right, where the source knows the class.
    pseudo_label_precision: Gauge Share Higher Filter;
    /// Fraction of the accepted pseudo-labels in the ledger that are right, where a label has come.
    ledger_precision: Gauge Share Higher Filter;
    /// Lower end of the 95 % interval of ledger_precision (Wilson 1927).
    ledger_precision_low: Gauge Share Higher Filter;
    /// Upper end of the 95 % interval of ledger_precision (Wilson 1927).
    ledger_precision_high: Gauge Share Higher Filter;
    /// Fraction of the samples in the ledger without a label that have an accepted pseudo-label.
    coverage: Gauge Share Higher Filter;
    /// Classes for which the gate accepts no pseudo-label at the end of the epoch.
    gate_closed_classes: Gauge Plain Lower Filter;
    /// Epochs in which the filter began to accept all samples or none, or one class to take all pseudo-labels.
    filter_alarms: Total Count Lower Filter;
    /// Classes that began to have no answers, or no accepted pseudo-labels, for long, while others had some.
    class_alarms: Total Count Lower Filter;
    /// Fraction of the accepted samples whose strong view the student gave the pseudo-label's class.
    agreement: Gauge Share Higher Filter;
    /// Fraction of the epoch's samples for which the job's two networks predict different classes.
    disagreement: Gauge Share Lower Filter;

    /// Accuracy of the job's answers on held-out samples.
    accuracy: Gauge Share Higher Quality;
    /// Accuracy of the teacher's network alone on held-out samples, without class prior and experts.
    network_accuracy: Gauge Share Higher Quality;
    /// Mean over classes of the accuracy on held-out samples of the class: each class counts alike.
    balanced_accuracy: Gauge Share Higher Quality;
    /// Least accuracy on held-out samples of a class.
    worst_class_recall: Gauge Share Higher Quality;
    /// Expected calibration error of the answers on held-out samples (Guo et al. 2017).
    calibration_error: Gauge Share Lower Quality;
    /// Fraction of the epoch's samples that were answered correctly before the student saw them.
    prequential_accuracy: Gauge Share Higher Quality;
    /// prequential_accuracy over the newest samples whose class is known (report.window).
    prequential_accuracy_window: Gauge Share Higher Quality;
    /// prequential_accuracy over the whole job.
    prequential_accuracy_total: Gauge Share Higher Quality;
    /// prequential_accuracy of the teacher's network alone, without class prior and experts.
    network_prequential_accuracy: Gauge Share Higher Quality;
    /// network_prequential_accuracy over the whole job.
    network_prequential_accuracy_total: Gauge Share Higher Quality;
    /// Share of the network in the answers; the experts have the rest (docs/drift.md).
    network_share: Gauge Share Neither Quality;
    /// Share of the linear discriminants in the answers.
    discriminants_share: Gauge Share Neither Quality;
    /// Share of the discriminants of random features in the answers.
    random_features_share: Gauge Share Neither Quality;
    /// Share of the nearest neighbours in the answers.
    neighbours_share: Gauge Share Neither Quality;
    /// Share of the discriminants of rows as they are scaled when their label comes.
    rescaled_share: Gauge Share Neither Quality;
    /// Share of the forests in the answers.
    forest_share: Gauge Share Neither Quality;
    /// Share of the answers as corrected to the present class prior; the rest is as it is.
    prior_share: Gauge Share Neither Quality;
    /// Fraction of all pseudo-labels in the ledger that are right, where a label has come.
    ledger_accuracy: Gauge Share Higher Quality;
    /// Accuracy of the epochs' teacher networks alone on samples of the stream near_future_shift samples later.
    near_future_accuracy: Gauge Share Higher Quality;
    /// Distance in samples at which earlier labels are of no help (blind classifier; Prabhu et al. 2023).
    near_future_shift: Gauge Samples Neither Stream;
    /// Mean over evaluations of the mean accuracy over the phases begun (Caccia et al. 2022).
    average_anytime_accuracy: Gauge Share Higher Quality;
    /// Mean over earlier phases of best accuracy minus present accuracy (Chaudhry et al. 2018).
    forgetting: Gauge Plain Lower Quality;
    /// Mean over earlier phases of accuracy minus that at the phase's end (Lopez-Paz and Ranzato 2017).
    backward_transfer: Gauge Plain Higher Quality;
    /// Mean over earlier phases of the least accuracy since they ended (De Lange et al. 2023).
    min_accuracy: Gauge Share Higher Quality;
    /// Mean of the present phase's accuracy and the earlier phases' least accuracy (De Lange et al. 2023).
    worst_case_accuracy: Gauge Share Higher Quality;
    /// Steps after the newest change of the stream until accuracy was 95 % of its former value.
    recovery_steps: Gauge Count Lower Quality;

    /// Loss on labelled samples, mean over the epoch's steps.
    labelled_loss: Gauge Plain Lower Learning;
    /// Loss on pseudo-labels, mean over the epoch's steps.
    unlabelled_loss: Gauge Plain Lower Learning;
    /// Euclidean norm of the gradient, mean over the epoch's steps.
    gradient_norm: Gauge Plain Neither Learning;
    /// Steps with an update that was skipped: loss or gradient not finite, or the batch too small for the network.
    skipped_updates: Total Count Lower Learning;
    /// Labelled samples in the epoch's steps that were learned with another class than their label (labels.correct).
    corrected_labels: Gauge Count Neither Learning;
    /// Learning rate of the epoch's last step.
    learning_rate: Gauge Plain Neither Learning;
    /// Lag of the teacher behind the student in steps, mean over the epoch; 1 is the sequential algorithm.
    teacher_lag_steps: Gauge Count Lower Learning;

    /// Labelled samples in the replay buffer.
    labels_known: Gauge Count Higher Stream;
    /// Labels that came after their samples.
    late_labels: Total Count Neither Stream;
    /// Median delay of late labels in samples, rounded down to a power of two.
    label_delay_samples: Gauge Samples Lower Stream;
    /// Kullback-Leibler divergence of the teacher's class prior from the labels'.
    prior_divergence: Gauge Nats Lower Stream;
    /// Current phase of the job's scenario, from 1.
    phase: Gauge Count Neither Stream;
    /// Statistic of the drift detector as a fraction of its alarm threshold; 1 raises the alarm.
    drift: Gauge Share Lower Stream;
    /// Alarms of the drift detector.
    drift_alarms: Total Count Lower Stream;
    /// Records that could not be read.
    dead_letters: Total Count Lower Stream;
    /// Records that wait where sources read them, such as in a topic.
    consumer_lag: Gauge Count Lower Stream;
    /// Samples that were not learned from, as a value is too large to compute with (above 1e15, scaled).
    unfit_samples: Total Count Lower Stream;

    /// Seconds since the newest checkpoint.
    checkpoint_age_seconds: Gauge Seconds Lower System;
    /// Seconds that writing the newest checkpoint took.
    checkpoint_seconds: Gauge Seconds Lower System;
    /// Checkpoints that could not be written, since the process started.
    checkpoint_failures: Total Count Lower System;
    /// Resident memory of the process.
    resident_memory_mib: Gauge Mebibytes Lower System;
    /// Memory in use on the job's GPU.
    gpu_memory_mib: Gauge Mebibytes Lower System;
    /// Fraction of the time in which the job's GPU was busy.
    gpu_busy_fraction: Gauge Share Higher System;
    /// Reports that an observer missed because it was too slow.
    reports_dropped: Total Count Lower System;
}

meters! {
    /// Numbers of a class.
    ClassMeters;

    /// Samples of the epoch with this class as pseudo-label.
    judged: Gauge Samples Neither Filter;
    /// Fraction of those samples that passed the filter.
    accepted_fraction: Gauge Share Neither Filter;
    /// Confidence threshold of the class at the end of the epoch.
    threshold: Gauge Share Neither Filter;
    /// Fraction of its accepted pseudo-labels that are right, where the source knows the class.
    pseudo_label_precision: Gauge Share Higher Filter;
    /// Fraction of its accepted pseudo-labels in the ledger that are right, where a label has come.
    ledger_precision: Gauge Share Higher Filter;
    /// Gate's estimate, from late labels, of the precision of its pseudo-labels at that threshold.
    gate_precision: Gauge Share Higher Filter;
    /// Whether the gate accepts no pseudo-label of the class: 1 is yes, 0 no.
    gate_closed: Gauge Flag Lower Filter;
    /// Accepted pseudo-labels of the class in the ledger whose sample has no label yet.
    pseudo_labels: Gauge Samples Neither Filter;
    /// Accuracy of the answers on held-out samples of this class.
    accuracy: Gauge Share Higher Quality;
}

meters! {
    /// Numbers of an operator of the dataflow.
    OperatorMeters;

    /// Samples per second that it processed.
    samples_per_s: Gauge PerSecond Higher Throughput;
    /// Fraction of the wall time in which it was scheduled: its stage's work and the engine's.
    busy_fraction: Gauge Share Neither Throughput;
    /// Fraction of the wall time spent in its stage's own work.
    stage_fraction: Gauge Share Neither Throughput;
    /// Stage time per sample that it processed.
    us_per_sample: Gauge Microseconds Lower Throughput;
}

meters! {
    /// Numbers of a worker, in jobs that have several.
    WorkerMeters;

    /// Unlabelled samples per second of which it made views and scores.
    samples_per_s: Gauge PerSecond Higher Throughput;
    /// Fraction of the wall time in which it computed.
    busy_fraction: Gauge Share Neither Throughput;
    /// Fraction of the wall time in which it waited for other workers. The slowest waits least.
    wait_fraction: Gauge Share Lower Throughput;
    /// MiB that went between it and worker 0 per step, where it is in another process.
    exchanged_per_step_mib: Gauge Mebibytes Lower Throughput;
}

meters! {
    /// Numbers of a source of the job.
    SourceMeters;

    /// Samples that it delivered in the epoch.
    samples: Gauge Samples Neither Stream;
    /// Records of it that could not be read.
    dead_letters: Total Count Lower Stream;
    /// Records that wait where it reads them, such as in a topic.
    consumer_lag: Gauge Count Lower Stream;
}

meters! {
    /// Numbers of a phase of the job's scenario.
    PhaseMeters;

    /// Accuracy of the answers on held-out samples of this phase: R[i, j].
    accuracy: Gauge Share Higher Quality;
    /// Best accuracy on this phase at the end of a phase minus the present accuracy.
    forgetting: Gauge Plain Lower Quality;
}

meters! {
    /// Numbers of a reason for unreadable records or refused requests.
    ReasonMeters;

    /// Unreadable records and refused requests.
    refused: Total Count Lower Stream;
}
