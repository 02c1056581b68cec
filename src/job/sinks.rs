//! Every sink a job can name: report sinks, which observe, and prediction sinks, which keep step with
//! the checkpoints.

use sluicebox_core::config::registry::{Entry, Registry, Spec};
use sluicebox_core::error::Result;
use sluicebox_core::observers::Observer;
use sluicebox_core::report::About;
use sluicebox_observe::sink::{jsonl, mlflow, tensorboard, webhook};
use sluicebox_stream::sink::{Sink, kafka, predictions};

/// Product of a row of [`SINKS`].
pub enum JobSink {
    /// Observer of epoch reports.
    Epochs(Box<dyn Observer>),
    /// Sink of predictions for each sample.
    Samples(Box<dyn Sink>),
}

/// Builds a sink from resolved options, for a job.
pub type Build = fn(&Spec, &About) -> Result<JobSink>;

/// All sinks that a job can name.
pub static SINKS: Registry<Build> = Registry {
    what: "sink",
    entries: &[
        Entry::new::<jsonl::Settings>("jsonl", "a file with one JSON object an epoch", |spec, _| {
            Ok(JobSink::Epochs(jsonl::build(spec)?))
        }),
        Entry::new::<tensorboard::Settings>(
            "tensorboard",
            "a folder of event files for TensorBoard",
            |spec, about| Ok(JobSink::Epochs(tensorboard::build(spec, about)?)),
        ),
        Entry::new::<mlflow::Settings>(
            "mlflow",
            "a run in the file layout of MLflow: metrics, parameters, tags",
            |spec, about| Ok(JobSink::Epochs(mlflow::build(spec, about)?)),
        ),
        Entry::new::<webhook::Settings>(
            "webhook",
            "a POST for each alarm, closed gate and failure",
            |spec, about| Ok(JobSink::Epochs(webhook::build(spec, about)?)),
        ),
        Entry::new::<predictions::Settings>(
            "predictions",
            "files with one JSON object a streamed sample: what the teacher made of it",
            |spec, _| Ok(JobSink::Samples(predictions::build(spec)?)),
        ),
        Entry::new::<kafka::Settings>(
            "predictions-kafka",
            "the same as messages of a Kafka topic, each at least once",
            |spec, _| Ok(JobSink::Samples(kafka::build(spec)?)),
        ),
    ],
};
