//! Sinks: outputs besides the console. One file and one row in [`SINKS`] per sink. Reports go to
//! observers, for which the job never waits. Predictions for each sample go to [`Sink`]s, which are
//! saved with the checkpoints, so that none is lost (and, in files, none is duplicated).

mod jsonl;
mod kafka;
mod predictions;
mod tensorboard;

use crate::data::Prediction;
use crate::error::Result;
use crate::observers::Observer;
use crate::registry::{Entry, Registry, Spec, resolve};
use crate::report::About;

/// An output of predictions.
pub trait Sink {
    /// Returns the sink's identity within the job, the same after a restart: its kind and place.
    fn name(&self) -> String;

    /// Writes the teacher's predictions for the samples of a step, in stream order. `classes` are
    /// the class names.
    fn predictions(&mut self, rows: &[Prediction], classes: &[String]) -> Result<()>;

    /// Returns the extent of the output, once it is durable, as bytes for [`Sink::restore`].
    fn snapshot(&mut self) -> Result<Vec<u8>>;

    /// Restores a snapshot: predictions made after it will be delivered again.
    fn restore(&mut self, state: &[u8]) -> Result<()>;
}

/// Product of a row of [`SINKS`].
pub enum Told {
    /// Observer of epoch reports.
    Epochs(Box<dyn Observer>),
    /// Sink of predictions for each sample.
    Samples(Box<dyn Sink>),
}

/// Builds a sink from resolved options, for a job.
pub type Build = fn(&Spec, &About) -> Result<Told>;

/// All sinks that a job can name.
pub static SINKS: Registry<Build> = Registry {
    what: "sink",
    entries: &[
        Entry {
            name: "jsonl",
            about: "a file with one JSON object an epoch",
            resolve: resolve::<jsonl::Settings>,
            build: |spec, _| Ok(Told::Epochs(jsonl::build(spec)?)),
        },
        Entry {
            name: "tensorboard",
            about: "a folder of event files for TensorBoard",
            resolve: resolve::<tensorboard::Settings>,
            build: |spec, about| Ok(Told::Epochs(tensorboard::build(spec, about)?)),
        },
        Entry {
            name: "predictions",
            about: "files with one JSON object a streamed sample: what the teacher made of it",
            resolve: resolve::<predictions::Settings>,
            build: |spec, _| Ok(Told::Samples(predictions::build(spec)?)),
        },
        Entry {
            name: "predictions-kafka",
            about: "the same as messages of a Kafka topic, each at least once",
            resolve: resolve::<kafka::Settings>,
            build: |spec, _| Ok(Told::Samples(kafka::build(spec)?)),
        },
    ],
};
