//! Who is told, beside the console. One file a sink, one row in [`SINKS`].

mod jsonl;
mod kafka;
mod predictions;
pub mod tensorboard;

use crate::data::Prediction;
use crate::error::Result;
use crate::metrics::EpochReport;
use crate::registry::{Entry, Registry, Spec, resolve};

/// A place where reports or predictions go.
pub trait Sink {
    /// Which of a job's sinks it is, also after a restart: its kind and place.
    fn name(&self) -> String;

    /// An epoch is done.
    fn epoch(&mut self, _report: &EpochReport) -> Result<()> {
        Ok(())
    }

    /// Whether it wants to know what the teacher made of each sample.
    fn takes_predictions(&self) -> bool {
        false
    }

    /// What the teacher made of the samples of a step, in the stream's order. `classes` are the
    /// classes' names.
    fn predictions(&mut self, _rows: &[Prediction], _classes: &[String]) -> Result<()> {
        Ok(())
    }

    /// How far it has got, once that is durable: bytes for [`Sink::restore`].
    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Goes back to a snapshot: what was told after it will be told again.
    fn restore(&mut self, _state: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// Makes a sink from resolved options.
pub type Build = fn(&Spec) -> Result<Box<dyn Sink>>;

/// Every sink a job can name.
pub static SINKS: Registry<Build> = Registry {
    what: "sink",
    entries: &[
        Entry {
            name: "jsonl",
            about: "a file with one JSON object an epoch",
            resolve: resolve::<jsonl::Settings>,
            build: jsonl::build,
        },
        Entry {
            name: "predictions",
            about: "files with one JSON object a streamed sample: what the teacher made of it",
            resolve: resolve::<predictions::Settings>,
            build: predictions::build,
        },
        Entry {
            name: "predictions-kafka",
            about: "the same as messages of a Kafka topic, each at least once",
            resolve: resolve::<kafka::Settings>,
            build: kafka::build,
        },
    ],
};
