//! Who is told, beside the console. One file a sink, one row in [`SINKS`]. Reports go to observers,
//! which the job never waits for; what the teacher made of each sample goes to sinks, which keep
//! step with the checkpoints, so that nothing of it is lost or doubled.

mod jsonl;
mod kafka;
mod predictions;
mod tensorboard;

use crate::data::Prediction;
use crate::error::Result;
use crate::observers::Observer;
use crate::registry::{Entry, Registry, Spec, resolve};
use crate::report::About;

/// A place where predictions go.
pub trait Sink {
    /// Which of a job's sinks it is, also after a restart: its kind and place.
    fn name(&self) -> String;

    /// What the teacher made of the samples of a step, in the stream's order. `classes` are the
    /// classes' names.
    fn predictions(&mut self, rows: &[Prediction], classes: &[String]) -> Result<()>;

    /// How far it has got, once that is durable: bytes for [`Sink::restore`].
    fn snapshot(&mut self) -> Result<Vec<u8>>;

    /// Goes back to a snapshot: what was told after it will be told again.
    fn restore(&mut self, state: &[u8]) -> Result<()>;
}

/// What a row of [`SINKS`] makes.
pub enum Told {
    /// Of each epoch.
    Epochs(Box<dyn Observer>),
    /// Of each sample.
    Samples(Box<dyn Sink>),
}

/// Makes it from resolved options, for a job.
pub type Build = fn(&Spec, &About) -> Result<Told>;

/// Every sink a job can name.
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
